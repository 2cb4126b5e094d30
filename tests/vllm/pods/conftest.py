"""A pool whose pod runs the real vLLM, and a route to it, made once."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from cluster.conftest import crds, kubernetes, secrecy
from cluster.kubernetes.access import Kubernetes
from cluster.node.conftest import node, operator
from cluster.node.pools import Pools, model_route
from cluster.node.workloads import Workloads
from vllm.environment import RealVllm
from vllm.overlay import model_claim
from vllm.pods.pool import ADAPTER, MODEL, POOL, real_pool
from vllm.pods.starting import Start, watched_start

__all__ = ["crds", "kubernetes", "node", "operator", "secrecy"]


@pytest.fixture(scope="session")
def pools(kubernetes: Kubernetes, operator: None, real: RealVllm) -> Iterator[Pools]:
    """A namespace with the model in a volume. It lets in pods with folders of the node."""
    namespace = f"vllm-{secrets.token_hex(3)}"
    kubernetes.kubectl("create", "namespace", namespace)
    kubernetes.kubectl("wait", "--for=create", "serviceaccount/default", "-n", namespace)
    found = Pools(Workloads(kubernetes, namespace))
    claim = model_claim(real, namespace)
    found.apply(*claim, ready=False)
    yield found
    kubernetes.kubectl("delete", "namespace", namespace, "--wait=false")
    kubernetes.kubectl("delete", "persistentvolume", claim[0]["metadata"]["name"], "--wait=false")


@pytest.fixture(scope="session")
def start(pools: Pools, real: RealVllm) -> Start:
    """The pool and its routes are applied; how they came to serve."""
    routes = (model_route(MODEL, POOL), model_route(ADAPTER, f"{POOL}/{ADAPTER}"))
    return watched_start(pools, POOL, real_pool(real), *routes)
