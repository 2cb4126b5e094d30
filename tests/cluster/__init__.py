"""Tests on a real Kubernetes, and the cluster they run on.

`kubernetes/` makes clusters, `control_plane/` holds tests that need an API server only, `node/`
those that need pods. `python -m cluster` is the command line of the first.
"""
