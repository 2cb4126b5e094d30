"""What tests with pods need. They run in the cluster's network: `make test-cluster`."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator

import pytest

from cluster.conftest import unavailable
from cluster.kubernetes.access import Kubernetes
from cluster.node.installation import RELEASE, SYSTEM, Routed, install_operator
from cluster.node.pools import Pools, pretend_gpus
from cluster.node.workloads import Workloads

_RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"


@pytest.fixture(scope="session", autouse=True)
def node(kubernetes: Kubernetes) -> None:
    """A node that runs pods."""
    if not kubernetes.has_node:
        unavailable("these tests need pods, and run in their network: make test-cluster")
    address = kubernetes.get("service", "kubernetes", "-n", "default")["spec"]["clusterIP"]
    try:
        socket.create_connection((address, 443), timeout=5).close()
    except OSError:
        unavailable(f"Services are not reachable from here: add a route to {address} by a node")


@pytest.fixture
def workloads(kubernetes: Kubernetes, namespace: str) -> Workloads:
    """Pods and Services in a namespace that lets in restricted pods only."""
    kubernetes.kubectl("label", "namespace", namespace, _RESTRICTED)
    return Workloads(kubernetes, namespace)


@pytest.fixture
def pools(operator: None, workloads: Workloads) -> Pools:
    """Pools with `vllm`, on a node that says it has GPUs."""
    pretend_gpus(workloads.kubernetes)
    return Pools(workloads)


@pytest.fixture(scope="session")
def operator(kubernetes: Kubernetes) -> Iterator[None]:
    """The operator, by the chart with its defaults."""
    install_operator(kubernetes)
    kubernetes.kubectl("label", "namespace", SYSTEM, _RESTRICTED, "--overwrite")
    yield
    kubernetes.helm("uninstall", RELEASE, "--namespace", SYSTEM, "--wait")


@pytest.fixture(scope="session")
def example(kubernetes: Kubernetes, operator: None) -> Iterator[Routed]:
    """The example for Kubernetes, applied once, in a namespace of its own. Tests leave it whole."""
    name = f"example-{secrets.token_hex(3)}"
    kubernetes.kubectl("create", "namespace", name)
    kubernetes.kubectl("label", "namespace", name, _RESTRICTED)
    kubernetes.kubectl("wait", "--for=create", "serviceaccount/default", "-n", name)
    found = Routed(Workloads(kubernetes, name))
    found.apply()
    found.wait_until_ready()
    yield found
    kubernetes.kubectl("delete", "namespace", name, "--wait=false")
