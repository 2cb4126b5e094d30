"""The cluster that tests run on, and what they need in it.

Which one: `MODELROUTER_KUBECONFIG` names a kubeconfig of any cluster (kind…), `MODELROUTER_CLUSTER`
the folder of one that `python -m cluster` runs; otherwise a control plane is started for the run.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.kubernetes import tools
from cluster.kubernetes.access import Kubernetes, must_not_skip
from cluster.kubernetes.problems import ClusterError
from cluster.kubernetes.running import find, running
from cluster.secrecy import Recorder

_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubernetes]:
    """A cluster with a real API server."""
    if path := os.environ.get("MODELROUTER_KUBECONFIG"):
        built = tools.folder() / "bin" if tools.built() else None
        if shutil.which("kubectl") is None and built is None:
            unavailable("MODELROUTER_KUBECONFIG needs kubectl on PATH")
        yield Kubernetes(Path(path), programs=None if shutil.which("kubectl") else built)
        return
    try:
        if path := os.environ.get("MODELROUTER_CLUSTER"):
            cluster = find(Path(path))
            yield Kubernetes(cluster.kubeconfig, cluster, cluster.tools / "bin")
            return
        with running(tmp_path_factory.mktemp("cluster")) as cluster:
            yield Kubernetes(cluster.kubeconfig, cluster, cluster.tools / "bin")
    except ClusterError as error:
        unavailable(str(error))


@pytest.fixture(scope="session", autouse=True)
def secrecy(kubernetes: Kubernetes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorder]:
    """Fails the run if a secret value shows up in anything that the run made. See `planted`."""
    recorder = Recorder(kubernetes)
    recorder.start()
    yield recorder
    recorder.look_at_files(tmp_path_factory.getbasetemp().rglob("*.log"))
    if places := recorder.stop():
        listed = "\n".join(places)
        pytest.fail(f"a secret value of a test shows up, or could unseen:\n{listed}", pytrace=False)


@pytest.fixture(scope="session")
def crds(kubernetes: Kubernetes) -> None:
    """ModelRoute and ModelPool, as `crds/` has them."""
    folder = str(_ROOT / "crds")
    kubernetes.kubectl("apply", "--server-side", "--force-conflicts", "-f", folder)
    kubernetes.establish("-f", folder)


@pytest.fixture
def namespace(kubernetes: Kubernetes) -> Iterator[str]:
    """A fresh namespace, deleted afterwards."""
    name = f"test-{secrets.token_hex(4)}"
    kubernetes.kubectl("create", "namespace", name)
    # After an outage the controller that makes it takes up to a minute to come back.
    account = ("serviceaccount/default", "-n", name)
    kubernetes.kubectl("wait", "--for=create", *account, "--timeout=110s")
    yield name
    kubernetes.kubectl("delete", "namespace", name, "--wait=false")


def unavailable(reason: str) -> None:
    """Skip, or fail where checks must not be left out."""
    line = " ".join(reason.split())
    if must_not_skip():
        pytest.fail(f"no cluster: {line}", pytrace=False)
    pytest.skip(f"no cluster: {line}")
