"""What tests with pods need. They run in the cluster's network: `make test-cluster`."""

from __future__ import annotations

import pytest

from cluster.conftest import unavailable
from cluster.kubernetes.access import Kubernetes
from cluster.node.workloads import Workloads


@pytest.fixture(scope="session", autouse=True)
def node(kubernetes: Kubernetes) -> None:
    """A node that runs pods."""
    if not kubernetes.has_node:
        unavailable("these tests need pods, and run in their network: make test-cluster")


@pytest.fixture
def workloads(kubernetes: Kubernetes, namespace: str) -> Workloads:
    """Pods and Services in a namespace that lets in restricted pods only."""
    level = "pod-security.kubernetes.io/enforce=restricted"
    kubernetes.kubectl("label", "namespace", namespace, level)
    return Workloads(kubernetes, namespace)
