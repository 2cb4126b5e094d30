"""A real Kubernetes on this machine: control plane, and a node that runs pods.

Made of Go modules and Debian packages; no container engine, no image registry.
"""
