"""Autoscaling: from the load of a pool to the number of its replicas."""
