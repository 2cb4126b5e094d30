"""Router pods without a node: the Deployment's own pods, played by processes of this machine.

Each pod gets a loopback address of its own. The agent and Envoy that listen there are real, and so
are the agent's rights; only the pod's status is written by hand, as a kubelet would write it.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import httpx

from cluster.control_plane.controller.waiting import eventually
from cluster.kubernetes.access import Kubernetes
from component.router.processes import launch, wait_until
from modelrouter.plan.envoy_flags import ENVOY_FLAGS
from modelrouter.standalone.envoy_binary import find_envoy
from modelrouter.standalone.ports import free_port

_NUMBERS = itertools.count(2)


class RouterPods:
    """The pods of one router in one namespace."""

    def __init__(
        self, kubernetes: Kubernetes, namespace: str, folder: Path, router: str = "default"
    ) -> None:
        self.kubernetes, self.namespace, self.router = kubernetes, namespace, router
        self.folder = folder
        self.pods: list[RouterPod] = []

    def names(self) -> list[str]:
        """Names of the pods that the Deployment has made."""
        found = self.kubernetes.get(
            "pods", "-n", self.namespace, "-l", f"modelrouter.dev/router={self.router}"
        )
        return sorted(
            pod["metadata"]["name"]
            for pod in found["items"]
            if not pod["metadata"].get("deletionTimestamp")
        )

    def start(self, count: int = 1, *, told: bool = True) -> list[RouterPod]:
        """Bring so many of the Deployment's pods to life, and wait until they are ready.

        Unless `told`, the cluster does not hear of it yet.
        """
        played = {pod.name for pod in self.pods}
        fresh = eventually(
            lambda: names if len(names := set(self.names()) - played) >= count else None,
            within=60,
        )
        started = [RouterPod(self, name).start() for name in sorted(fresh)[:count]]
        self.pods += started
        for pod in started:
            eventually(pod.is_ready, within=60)
            if told:
                pod.report(ready=True)
        return started

    def kubeconfig(self) -> Path:
        """How the agents reach the cluster: as the router's own ServiceAccount."""
        path = self.folder / f"kubeconfig-{self.namespace}-model-router-{self.router}"
        if not path.exists():
            self.kubernetes.kubeconfig_of(
                f"model-router-{self.router}", self.namespace, self.folder
            )
        return path

    def stop(self) -> None:
        """End all processes."""
        for pod in self.pods:
            pod.stop()


class RouterPod:
    """One pod: its object in the cluster, and its processes."""

    def __init__(self, pods: RouterPods, name: str) -> None:
        self._pods = pods
        self.name = name
        number = next(_NUMBERS)
        # Other test runs on this machine play pods too.
        self.address = f"127.{os.getpid() % 200 + 20}.{number // 250}.{number % 250 + 2}"
        self._folder = pods.folder / name.rpartition("-")[2]
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        """Where it takes requests."""
        return f"http://{self.address}:8080"

    def start(self) -> Self:
        """Start the processes, also again after `stop`."""
        runtime = self._folder / "run"
        runtime.mkdir(parents=True, exist_ok=True)
        bootstrap = runtime / "envoy.json"
        bootstrap.unlink(missing_ok=True)
        agent = [sys.executable, "-m", "modelrouter", "router", "--kubernetes"]
        agent += ["--namespace", self._pods.namespace, "--router", self._pods.router]
        agent += ["--kubeconfig", str(self._pods.kubeconfig())]
        agent += ["--runtime-dir", str(runtime), "--state-dir", str(self._folder / "state")]
        agent += ["--listen", f"{self.address}:8080", "--admin", f"{self.address}:8081"]
        agent += ["--void-port", str(free_port()), "--log-format", "json"]
        log = self._folder / "agent.log"
        self._processes = [launch(agent, log)]
        wait_until(bootstrap.exists, self._processes[0], log)
        envoy = [str(find_envoy(None)), "-c", str(bootstrap)]
        envoy += ["--concurrency", "1", *ENVOY_FLAGS]
        self._processes.append(launch(envoy, self._folder / "envoy.log"))
        return self

    def stop(self) -> None:
        """Kill the processes; the object stays as it is."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        self._processes = []

    def freeze(self) -> None:
        """Let its processes run no further; their ports stay open."""
        for process in self._processes:
            process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        for process in self._processes:
            process.send_signal(signal.SIGCONT)

    def is_ready(self) -> bool:
        """What a kubelet's readiness probe would find."""
        try:
            return httpx.get(f"http://{self.address}:8081/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def report(self, *, ready: bool) -> None:
        """Write the pod's status."""
        status: dict[str, Any] = {
            "phase": "Running",
            "podIP": self.address,
            "podIPs": [{"ip": self.address}],
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        }
        self._pods.kubernetes.kubectl(
            "patch", "pod", self.name, "-n", self._pods.namespace, "--subresource=status",
            "--type=merge", "-p", json.dumps({"status": status}),
        )  # fmt: skip

    def version(self) -> str:
        """The version of the configuration that its Envoy has acknowledged."""
        answer = httpx.get(f"http://{self.address}:8081/configz", timeout=5)
        return str(answer.json()["version"])
