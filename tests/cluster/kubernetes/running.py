"""Bringing a cluster up, knowing that it is up, and ending it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cluster.kubernetes import tools
from cluster.kubernetes.images import Image
from cluster.kubernetes.node import (
    CONTAINERD_SOCKET,
    check_node,
    load_archive,
    namespaces,
    remove_cgroups,
)
from cluster.kubernetes.problems import ClusterError
from cluster.kubernetes.processes import end_with_parent, last_lines
from cluster.kubernetes.supervising import SOCKET, STATE

START_SECONDS = 240.0
_IMAGES = "images"
_BULK = ("etcd", "containerd", "containerd-state", "containerd-opt", "kubelet")
_TESTS = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that runs, by its folder."""

    run: Path
    supervisor: int
    """The process whose end ends the cluster; with a node it is in the cluster's network."""
    url: str
    tools: Path
    node: bool
    seconds: float
    """It took to become ready."""

    def wait(self) -> None:
        """Return when the cluster has ended."""
        while self.runs():
            time.sleep(0.5)

    def runs(self) -> bool:
        """Whether it has not ended."""
        try:
            status = Path(f"/proc/{self.supervisor}/stat").read_text()
        except OSError:
            return False
        return status.rpartition(")")[2].split()[0] != "Z"  # ended, and not yet asked after

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.run / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """One JSON object per write."""
        return self.run / "audit.log"

    @property
    def images(self) -> list[str]:
        """Names of the images that were loaded."""
        listed = self.run / _IMAGES
        return listed.read_text().split() if listed.exists() else []

    def load(self, images: Iterable[Image]) -> None:
        """Put images on the node. Pods need `imagePullPolicy: IfNotPresent`."""
        for image in images:
            load_archive(self.tools, self.run / CONTAINERD_SOCKET, image.archive)
            with (self.run / _IMAGES).open("a") as listed:
                listed.write(f"{image.name}\n")

    @property
    def environment(self) -> dict[str, str]:
        """What kubectl and helm need to talk to it."""
        path = f"{self.tools / 'bin'}:{os.environ['PATH']}"
        return os.environ | {
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": path,
            "MODELROUTER_CLUSTER": str(self.run),
        }


def find(run: Path) -> Cluster:
    """The cluster that runs in a folder.

    Raises:
        ClusterError: none does.
    """
    try:
        state = json.loads((run / STATE).read_text())
        supervisor = int((run / "pid").read_text())
        os.kill(supervisor, 0)
    except PermissionError:
        raise ClusterError(f"the cluster in {run} belongs to somebody else") from None
    except (OSError, ValueError):
        raise ClusterError(f"no cluster runs in {run}") from None
    folder = Path(state["tools"])
    return Cluster(run, supervisor, state["url"], folder, state["node"], state["seconds"])


@contextmanager
def running(run: Path, *, node: bool = False) -> Iterator[Cluster]:
    """A cluster for as long as the context lasts. Its logs stay in the folder.

    Raises:
        ClusterError: it cannot be had here, or did not come up.
    """
    if node:
        check_node()
    built = tools.build()
    _clear(run)
    command = [sys.executable, "-m", "cluster", "supervise", str(built), str(run)]
    command = [*namespaces(), *command, "--node"] if node else command
    paths = os.pathsep.join(filter(None, [str(_TESTS), os.environ.get("PYTHONPATH")]))
    log = run / "supervisor.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=os.environ | {"PYTHONPATH": paths},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
    supervisor = process.pid
    try:
        supervisor = _child(process) if node else process.pid
        (run / "pid").write_text(str(supervisor))
        _await_state(process, run, log)
        yield find(run)
    finally:
        with suppress(ProcessLookupError):
            # `unshare` ignores SIGTERM while its child runs, so the child gets it.
            os.kill(supervisor, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if node:
            remove_cgroups(run)
        _remove_bulk(run)


def _await_state(process: subprocess.Popen[bytes], run: Path, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not (run / STATE).exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise ClusterError(f"the cluster did not come up; {log} ends with\n{last_lines(log)}")
        time.sleep(0.05)


def _child(process: subprocess.Popen[bytes]) -> int:
    """Process 1 of the namespaces that `unshare` makes, by its number outside."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not (found := children.read_text().split()):
        if process.poll() is not None:
            raise ClusterError("the cluster's namespaces could not be made: see supervisor.log")
        time.sleep(0.01)
    return int(found[0])


def _clear(run: Path) -> None:
    try:
        find(run)
    except ClusterError:
        pass
    else:
        raise ClusterError(f"a cluster runs in {run} already: end it, or name another with --run")
    _remove_bulk(run)
    run.mkdir(parents=True, exist_ok=True)
    for stale in (STATE, SOCKET, _IMAGES, "pid", "audit.log"):
        (run / stale).unlink(missing_ok=True)


def _remove_bulk(run: Path) -> None:
    for name in _BULK:
        shutil.rmtree(run / name, ignore_errors=True)
