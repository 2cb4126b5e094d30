"""What the tests of the chart share."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.control_plane.chart.rendering import Object, render
from cluster.control_plane.chart.schemas import write_schemas
from cluster.kubernetes.access import Kubernetes


@pytest.fixture(scope="session")
def schema_location(kubernetes: Kubernetes, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where kubeconform finds the schema of each kind."""
    return write_schemas(kubernetes, tmp_path_factory.mktemp("schemas"))


@pytest.fixture
def default_objects(kubernetes: Kubernetes, tmp_path: Path) -> list[Object]:
    """What is installed without any values."""
    return render(kubernetes, {}, tmp_path)
