"""GPUs that a node says it has. Nothing looks for them: the scheduler counts, and pods run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from cluster.kubernetes.access import Kubernetes

GPU = "nvidia.com/gpu"


@contextmanager
def gpus(kubernetes: Kubernetes, count: int, *, resource: str = GPU) -> Iterator[None]:
    """Every node of the cluster has this many, until the end."""
    nodes = [node["metadata"]["name"] for node in kubernetes.get("nodes")["items"]]
    for node in nodes:
        set_gpus(kubernetes, node, count, resource=resource)
    try:
        yield
    finally:
        for node in nodes:
            set_gpus(kubernetes, node, 0, resource=resource)


def set_gpus(kubernetes: Kubernetes, node: str, count: int, *, resource: str = GPU) -> None:
    """A node has this many from now on.

    The kubelet keeps extended resources that it finds in its node's status, and works out from
    them what can be allocated; here both are set, so that nobody waits for it. A kubelet that is
    started anew forgets them.
    """
    path = resource.replace("~", "~0").replace("/", "~1")
    patch = [
        {"op": "add", "path": f"/status/{field}/{path}", "value": str(count)}
        for field in ("capacity", "allocatable")
    ]
    kubernetes.kubectl(
        "patch", "node", node, "--subresource=status", "--type=json", "-p", json.dumps(patch)
    )
