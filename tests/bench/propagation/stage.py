"""Everything that runs: cluster, operator, a router pod, model servers."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from bench.envoys import answering_envoy
from bench.processes import BenchError, cpu_seconds, family
from bench.propagation import crowd
from bench.propagation.statuses import Statuses, apply_all
from cluster.control_plane.controller.operators import Installation, Operator
from cluster.control_plane.controller.routerpods import RouterPods
from cluster.kubernetes.access import Kubernetes
from cluster.kubernetes.running import running
from modelrouter.standalone.ports import free_port

NAMESPACE = "bench"
_CRDS = Path(__file__).resolve().parents[3] / "crds"
_SERVERS = 4
PATIENCE_SECONDS = 120.0


class Stage:
    """A cluster with one changeable route, and what may be measured in it."""

    def __init__(self, kubernetes: Kubernetes, folder: Path, servers: list[str]) -> None:
        self.kubernetes = kubernetes
        self.servers = servers
        self.installation = Installation(kubernetes, NAMESPACE, folder / "operator", {})
        self.operator: Operator | None = None
        self.pods = RouterPods(kubernetes, NAMESPACE, folder / "pods")
        self.pods.folder.mkdir()
        self.statuses = Statuses(kubernetes.kubeconfig, NAMESPACE)
        self.target = crowd.BLUE
        """The pool that the changeable route sends everything to."""
        self._folder = folder
        self._starts = 0

    def start_operator(self) -> float:
        """Start the operator; when its process began, by `time.time`."""
        began = time.time()
        self._starts += 1
        self.operator = self.installation.operator(str(self._starts))
        return began

    def stop_operator(self) -> None:
        """End it in order."""
        assert self.operator is not None
        self.operator.stop()

    def await_calm(self) -> float:
        """Wait until the leader has looked at every route and has nothing left to do; when."""
        assert self.operator is not None
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            at = time.time()
            with suppress(httpx.HTTPError):
                looked = self.operator.metric("modelrouter_reconcile_total", queue="statuses")
                if looked and not self.operator.metric("modelrouter_queue_depth"):
                    return at
            time.sleep(0.1)
        raise BenchError("the operator does not come to rest")

    def operator_cpu(self) -> float:
        """CPU seconds of the operator since its start."""
        assert self.operator is not None
        return cpu_seconds(self.operator.pid)

    def processes(self) -> dict[str, int]:
        """The processes that cost something, by name."""
        assert self.operator is not None
        found = {"operator": self.operator.pid}
        for pid in family(os.getpid()):
            command = Path(f"/proc/{pid}/cmdline").read_text()
            if str(self._folder / "pods") in command:
                found["Envoy" if "envoy.json" in command else "agent"] = pid
        return found

    def generation(self) -> int:
        """Of the changeable route."""
        found: int = self.kubernetes.get("mroute", crowd.ROUTE, "-n", NAMESPACE)["metadata"][
            "generation"
        ]
        return found

    def apply(self, *manifests: dict[str, Any]) -> None:
        """As `kubectl apply -f` does it."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        content = manifests[0] if len(manifests) == 1 else listed
        self.kubernetes.kubectl("apply", "-n", NAMESPACE, "-f", "-", input=json.dumps(content))

    def send_all_to(self, target: str) -> None:
        """Change the changeable route."""
        self.target = target
        self.apply(crowd.changed_route(target))

    def apply_crowd(self, routes: int, pools: int) -> None:
        """Many other routes and pools, of the same router."""
        manifests = crowd.crowd(routes, pools, self.servers)
        apply_all(self.kubernetes.kubeconfig, NAMESPACE, manifests)


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Set everything up but the operator and what it makes; the changeable route is there."""
    with ExitStack() as stack:
        cluster = stack.enter_context(running(folder / "cluster"))
        kubernetes = Kubernetes(cluster.kubeconfig, cluster, cluster.tools / "bin")
        kubernetes.kubectl("apply", "--server-side", "-f", str(_CRDS))
        kubernetes.kubectl("wait", "--for=condition=Established", "-f", str(_CRDS))
        kubernetes.kubectl("create", "namespace", NAMESPACE)
        ports = [free_port() for _ in range(_SERVERS)]
        stack.enter_context(answering_envoy(ports, folder))
        servers = [f"127.0.0.1:{port}" for port in ports]
        made = Stage(kubernetes, folder, servers)
        stack.callback(made.installation.stop)
        stack.callback(made.pods.stop)
        stack.enter_context(made.statuses)
        made.apply(*crowd.changed_pools(servers), crowd.changed_route(made.target))
        yield made


def memory(pid: int) -> tuple[float, float]:
    """Resident memory of a process in MB: now, and at most since its start."""
    text = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in text.splitlines())
    now, most = (int(fields[key].split()[0]) / 1024 for key in ("VmRSS", "VmHWM"))
    return now, most


def cpu(processes: dict[str, int]) -> dict[str, float]:
    """CPU seconds of processes since their start."""
    return {name: cpu_seconds(pid) for name, pid in processes.items()}
