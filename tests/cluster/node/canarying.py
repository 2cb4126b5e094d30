"""Canaries on one router of three pods, with real model servers, callers and a shortened clock."""

from __future__ import annotations

import itertools
import json
import secrets
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cluster.control_plane.controller.waiting import eventually
from cluster.kubernetes.access import Kubernetes
from cluster.node.asking import Callers, calling
from cluster.node.away import ROUTER_PODS, operator_pods, pods
from cluster.node.installation import RELEASE, ROUTER, SYSTEM, install_operator
from cluster.node.pools import Object, model_route
from cluster.node.workloads import MODEL_PORT, Workloads, model_servers

ROUTERS = 3
ADMIN_PORT = 8081
MODEL = "acme/model"
QUICK = ("--first-token=20", "--per-token=2")
SERVERS = {
    "steady": QUICK,
    "better": QUICK,
    "slow": ("--first-token=300", "--per-token=2"),
    "failing": (*QUICK, "--fail-rate=0.4", "--fail-status=500"),
    "breaking": QUICK,
}
"""Options of the simulated servers."""
POOLS = {
    "stable": ("steady", "2"),
    "better": ("better", "2"),
    "slow": ("slow", "2"),
    "failing": ("failing", "2"),
    "costly": ("better", "10"),
    "poor": ("better", "2"),
    "breaking": ("breaking", "2"),
}
"""By pool: its servers, and what a million tokens cost."""
_ELECTION = {"leaseDuration": "6s", "renewDeadline": "4s", "retryPeriod": "1s"}
_ENDS = {"Promoted", "RolledBack", "Aborted"}

Place = tuple[str, int, int, str]
"""Phase, step, weight and since when."""


def canary(
    name: str,
    to: str,
    weights: tuple[int, ...],
    *,
    pause: str = "3s",
    analysis: Object | None = None,
    **given: Any,
) -> Object:
    """A route from the pool `stable` to another."""
    spec: Object = {
        "from": "stable",
        "to": to,
        "steps": [{"weight": weight, "pause": pause} for weight in weights],
        **given,
    }
    if analysis is not None:
        spec["analysis"] = {"interval": "1s", **analysis}
    return model_route(name, "stable", to, canary=spec)


@dataclass(slots=True)
class Watching:
    """Every place that the canaries of a namespace have been at, as the API server told it."""

    file: Path

    def places(self, name: str) -> list[Place]:
        """A canary's, oldest first; repeats are left out."""
        lines = (line.split() for line in self.file.read_text().splitlines())
        found = [
            (line[1], int(line[2]), int(line[3]), line[4])
            for line in lines
            if len(line) == 5 and line[0] == name
        ]
        return [place for place, _ in itertools.groupby(found)]

    def path(self, name: str) -> list[tuple[str, int, int]]:
        """The same without the moments."""
        return [place[:3] for place in self.places(name)]


@dataclass(frozen=True, slots=True)
class Stage:
    """Where canaries go on."""

    workloads: Workloads
    callers: Callers
    watching: Watching

    @property
    def kubernetes(self) -> Kubernetes:
        """The cluster."""
        return self.workloads.kubernetes

    def begin(self, *routes: Object) -> None:
        """Apply routes, and wait until they serve."""
        self.workloads.apply(*routes)
        names = [f"mroute/{route['metadata']['name']}" for route in routes]
        self.workloads.kubectl("wait", "--for=condition=Ready", *names, "--timeout=60s")

    def status(self, name: str) -> Object:
        """`status.canary` of a route."""
        found = self.workloads.get("mroute", name).get("status", {}).get("canary", {})
        assert isinstance(found, dict)
        return found

    def place(self, name: str) -> tuple[str, int, int]:
        """Phase, step and weight."""
        found = self.status(name)
        return found.get("phase", ""), found.get("step", 0), found.get("weight", 0)

    def reaches(self, name: str, *wanted: tuple[str, int, int], within: float = 90) -> Object:
        """Wait until the canary stands at one of these places; its status."""

        def there() -> bool:
            assert self.place(name) in wanted, self.status(name)
            return True

        eventually(there, within=within, every=0.3)
        return self.status(name)

    def ends(self, name: str, phase: str, within: float = 90) -> Object:
        """Wait until the canary has ended in this way; its status."""

        def ended() -> bool:
            found = self.status(name)
            if found.get("phase") in _ENDS - {phase}:
                pytest.fail(f"{name}: {found}")
            assert found.get("phase") == phase, found
            return True

        eventually(ended, within=within, every=0.3)
        return self.status(name)

    def reasons(self, name: str) -> list[str]:
        """Of the Events about a canary, oldest first."""
        about = f"involvedObject.name={name},involvedObject.kind=ModelRoute"
        events = self.workloads.get("events", "--field-selector", about)["items"]
        events.sort(key=lambda event: event.get("eventTime") or event["firstTimestamp"] or "")
        return [event["reason"] for event in events if event["reason"].startswith("Canary")]

    def goes_to(self, name: str, pool: str, *, asks: int = 12, within: float = 15) -> None:
        """Wait until every request for a model is answered by this pool."""

        def does() -> bool:
            found = self.callers.burst(name, asks)
            assert not found.failures, found.failures
            assert set(found.pools()) == {pool}, found.pools()
            return True

        eventually(does, within=within)

    def modelrouter(self, *arguments: str) -> str:
        """What `modelrouter canary …` says, on stdout and stderr."""
        command = [sys.executable, "-m", "modelrouter", "canary", *arguments]
        done = subprocess.run(
            [*command, "-n", self.workloads.namespace],
            env=self.kubernetes.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return f"{done.returncode}: {done.stdout}{done.stderr}"

    def measured(self, name: str) -> list[int]:
        """How many requests each router pod has measured for a canary in the last hour."""
        found = []
        for pod in pods(self.kubernetes, self.workloads.namespace, ROUTER_PODS):
            address = f"{pod['status']['podIP']}:{ADMIN_PORT}"
            url = f"http://{address}/measurementz?route={name}&seconds=3600"
            with urllib.request.urlopen(url, timeout=10) as answer:
                window = json.load(answer)["windows"]["3600"]
            found.append(window["stable"]["requests"] + window["canary"]["requests"])
        return found

    def servers(self, name: str) -> list[Object]:
        """Pods of simulated servers."""
        return pods(self.kubernetes, self.workloads.namespace, f"app={name}")

    def leader(self) -> Object:
        """The operator's pod that leads, with its container running."""

        def leads() -> Object | None:
            lease = self.kubernetes.get("lease", f"{RELEASE}-operator", "-n", SYSTEM)
            holder = lease["spec"].get("holderIdentity") or ""
            for pod in operator_pods(self.kubernetes):
                (container,) = pod["status"].get("containerStatuses") or [{}]
                if holder.startswith(pod["metadata"]["name"]) and container.get("ready"):
                    return pod
            return None

        found = eventually(leads, within=60)
        assert found is not None
        return found


@contextmanager
def staged(kubernetes: Kubernetes, folder: Path) -> Iterator[Stage]:
    """Model servers, their pools and a router, in a namespace of their own."""
    settings = [f"operator.leaderElection.{name}={value}" for name, value in _ELECTION.items()]
    settings.append(f"routers.replicas={ROUTERS}")
    install_operator(kubernetes, *(part for each in settings for part in ("--set", each)))
    namespace = f"canaries-{secrets.token_hex(3)}"
    kubernetes.kubectl("create", "namespace", namespace)
    kubernetes.kubectl("wait", "--for=create", "serviceaccount/default", "-n", namespace)
    workloads = Workloads(kubernetes, namespace)
    objects: list[Object] = [model_route("plain", "stable")]
    for name, options in SERVERS.items():
        objects += _servers(name, options)
    objects += [_pool(name, servers, price) for name, (servers, price) in POOLS.items()]
    workloads.apply(*objects)
    for name in (*SERVERS, ROUTER):
        workloads.kubectl("wait", "--for=create", f"deployment/{name}", "--timeout=60s")
        workloads.kubectl("rollout", "status", f"deployment/{name}", "--timeout=100s")
    fields = " ".join(f"{{.status.canary.{each}}}" for each in ("phase", "step", "weight", "since"))
    output = f'jsonpath={{.metadata.name}} {fields}{{"\\n"}}'
    file = folder / "places"
    with file.open("w") as out:
        kubectl = subprocess.Popen(
            ["kubectl", "get", "mroute", "-n", namespace, "--watch", "-o", output],
            env=kubernetes.environment, stdout=out, stderr=out,
        )  # fmt: skip
    try:
        with calling(f"{workloads.service_url(ROUTER, 8080)}/v1") as callers:
            yield Stage(workloads, callers, Watching(file))
    finally:
        kubectl.kill()
        kubectl.wait()
        kubernetes.kubectl("delete", "namespace", namespace, "--wait=false")
        # Without it helm keeps the settings of before.
        install_operator(kubernetes, "--reset-values")


def _servers(name: str, options: tuple[str, ...]) -> tuple[Object, Object]:
    deployment, service = model_servers(name, MODEL, args=options)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    # With less a busy machine lets them starve, and good candidates look slow.
    container["resources"] = {"requests": {"cpu": "100m", "memory": "64Mi"}}
    return deployment, service


def _pool(name: str, servers: str, price: str) -> Object:
    spec = {
        "model": MODEL,
        "service": {"name": servers, "port": MODEL_PORT},
        "price": {"input": price, "output": price},
    }
    metadata = {"name": name}
    return {
        "apiVersion": "modelrouter.dev/v1alpha1",
        "kind": "ModelPool",
        "metadata": metadata,
        "spec": spec,
    }
