"""What the tests of the operator share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from cluster.control_plane.controller.canaries import Stage, begun
from cluster.control_plane.controller.loadedrouters import LoadedRouter
from cluster.control_plane.controller.operators import Installation, Operator
from cluster.control_plane.controller.resources import Resources
from cluster.control_plane.controller.routerpods import RouterPods
from cluster.kubernetes.access import Kubernetes
from cluster.secrecy import Recorder

Install = Callable[..., Installation]
Router = Callable[[], LoadedRouter]


@pytest.fixture
def install(
    kubernetes: Kubernetes, crds: None, namespace: str, tmp_path: Path
) -> Iterator[Install]:
    """Install an operator for the test's namespace alone, with these values of the chart."""
    made: list[Installation] = []

    def install(**values: Any) -> Installation:
        values.setdefault("watchNamespaces", [namespace])
        found = Installation(kubernetes, namespace, tmp_path / f"operator-{len(made)}", values)
        made.append(found)
        return found

    yield install
    for installation in made:
        installation.stop()


@pytest.fixture
def installation(install: Install) -> Installation:
    """An operator's rights and configuration; it does not run yet."""
    return install()


@pytest.fixture
def operator(installation: Installation) -> Operator:
    """An operator that leads."""
    return installation.operator().lead()


@pytest.fixture
def router_pods(kubernetes: Kubernetes, namespace: str, secrecy: Recorder) -> Iterator[RouterPods]:
    """The pods of the router `default`."""
    # Not pytest's own folder: the path of a Unix socket has at most 107 bytes.
    with TemporaryDirectory(prefix="mr-", ignore_cleanup_errors=True) as folder:
        pods = RouterPods(kubernetes, namespace, Path(folder))
        yield pods
        pods.stop()
        secrecy.look_at_files(Path(folder).rglob("*.log"))


@pytest.fixture
def router(kubernetes: Kubernetes, namespace: str, router_pods: RouterPods) -> Iterator[Router]:
    """Brings a pod of the router to life, which tells what the test says."""
    made: list[LoadedRouter] = []

    def start() -> LoadedRouter:
        made.append(LoadedRouter(kubernetes, namespace, router_pods))
        return made[-1]

    yield start
    for pod in made:
        pod.stop()


@pytest.fixture
def resources(kubernetes: Kubernetes, namespace: str) -> Resources:
    """ModelRoutes and ModelPools of the test's namespace, and what the cluster says of them."""
    return Resources(kubernetes, namespace)


@pytest.fixture
def stage(operator: Operator, resources: Resources, router: Router) -> Stage:
    """For canaries: an operator that leads, and a router pod."""
    return begun(resources, router)
