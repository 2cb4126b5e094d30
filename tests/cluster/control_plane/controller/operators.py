"""Operators as processes of this machine, with the rights and file that the chart gives them."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import httpx
import yaml

from cluster.control_plane.chart.rendering import render
from cluster.control_plane.controller.waiting import eventually
from cluster.kubernetes.access import Kubernetes
from component.router.processes import launch, wait_until
from modelrouter.standalone.ports import free_port

RELEASE = "model-router"
_RIGHTS = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")


class Installation:
    """What the chart brings, apart from the pods: rights and configuration."""

    def __init__(
        self, kubernetes: Kubernetes, namespace: str, folder: Path, values: dict[str, Any]
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.kubernetes, self.namespace, self.folder = kubernetes, namespace, folder
        objects = render(kubernetes, values, folder, namespace=namespace)
        rights = [obj for obj in objects if obj["kind"] in _RIGHTS]
        kubernetes.apply(*rights, namespace=namespace)
        self._clusterwide = [obj for obj in rights if obj["kind"].startswith("Cluster")]
        (account,) = (obj for obj in rights if obj["kind"] == "ServiceAccount")
        name = account["metadata"]["name"]
        self.user = f"system:serviceaccount:{namespace}:{name}"
        self.kubeconfig = kubernetes.kubeconfig_of(name, namespace, folder)
        (config,) = (
            obj["data"]["operator.yaml"]
            for obj in objects
            if obj["kind"] == "ConfigMap" and "operator.yaml" in obj.get("data", {})
        )
        self.config = folder / "operator.yaml"
        self.config.write_text(config)
        self.lease = yaml.safe_load(config)["leaderElection"]["name"]
        self._operators: list[Operator] = []

    def operator(self, name: str = "one") -> Operator:
        """Start an operator and return once it knows the cluster."""
        operator = Operator(self, name)
        self._operators.append(operator)
        return operator.start()

    def leader(self) -> str:
        """Identity in the Lease; empty if nobody holds it."""
        lease = self.kubernetes.kubectl(
            "get", "lease", self.lease, "-n", self.namespace, "-o",
            "jsonpath={.spec.holderIdentity}", check=False,
        )  # fmt: skip
        return "" if "NotFound" in lease else lease.strip()

    def writes(self, since: int = 0) -> list[dict[str, Any]]:
        """What the operators wrote, Leases and Events left out; `since` skips as many."""
        found = []
        for event in self.kubernetes.writes(self.user):
            resource = event["objectRef"].get("resource")
            if resource not in ("leases", "events", "selfsubjectaccessreviews"):
                found.append(event)
        return found[since:]

    def log_text(self) -> str:
        """The logs of all operators."""
        return "".join(operator.log.read_text() for operator in self._operators)

    def stop(self) -> None:
        """End all operators."""
        for operator in self._operators:
            operator.stop()
        for obj in self._clusterwide:
            name = obj["metadata"]["name"]
            self.kubernetes.kubectl("delete", obj["kind"], name, "--ignore-not-found")


class Operator:
    """One operator process."""

    def __init__(self, installation: Installation, name: str) -> None:
        self.installation = installation
        self.log = installation.folder / f"operator-{name}.log"
        self.port = free_port()
        self._name = name
        self._identity = ""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it, also again after `kill`."""
        command = [sys.executable, "-m", "modelrouter", "operator"]
        command += ["--config", str(self.installation.config)]
        command += ["--kubeconfig", str(self.installation.kubeconfig)]
        command += ["--listen", f"127.0.0.1:{self.port}"]
        self._process = launch(command, self.log)
        wait_until(lambda: self.readiness().get("ready", False), self._process, self.log)
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def identity(self) -> str:
        """Its name in the Lease, and in the user agent of its requests."""
        if not self._identity:
            self._identity = str(self.readiness()["identity"])
        return self._identity

    def healthy(self) -> bool:
        """Whether a kubelet would leave it alone."""
        return httpx.get(f"http://127.0.0.1:{self.port}/healthz", timeout=5).status_code == 200

    @property
    def leads(self) -> bool:
        """Whether it says so itself."""
        return bool(self.readiness().get("leader"))

    def lead(self) -> Self:
        """Wait until it leads."""
        eventually(lambda: self.leads, within=60)
        return self

    def readiness(self) -> dict[str, Any]:
        """What it answers on /readyz."""
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=5)
        except httpx.HTTPError:
            return {}
        found: dict[str, Any] = json.loads(answer.text)
        return found

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        text = httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=10).text
        total = 0.0
        for line in text.splitlines():
            match = re.match(rf"^{name}(?:\{{(.*)\}})? (\S+)$", line)
            wanted = (f'{label}="{value}"' for label, value in labels.items())
            if match and all(pair in (match[1] or "") for pair in wanted):
                total += float(match[2])
        return total

    def settle(self) -> None:
        """Wait until it has nothing to do."""

        def calm() -> bool:
            before = self.metric("modelrouter_reconcile_total")
            return self.metric("modelrouter_queue_depth") == 0 and before == self.metric(
                "modelrouter_reconcile_total"
            )

        eventually(lambda: calm() and calm(), within=60)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it: it cannot give anything back."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """End it in order; its exit code."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return self._process.wait()
