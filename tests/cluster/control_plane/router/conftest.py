"""A router's agent and Envoy against a real API server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.agents import Pod
from cluster.kubernetes.access import Kubernetes


@pytest.fixture
def pod(kubernetes: Kubernetes, namespace: str, tmp_path: Path) -> Iterator[Pod]:
    """Not started yet."""
    made = Pod(kubernetes, namespace, tmp_path / "pod")
    try:
        yield made
    finally:
        made.stop()
