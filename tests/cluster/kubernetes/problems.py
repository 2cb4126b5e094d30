"""What keeps a cluster from being there."""

from __future__ import annotations


class ClusterError(Exception):
    """No cluster can be had, or it does not do what it must; the message gives the remedy."""
