"""What the chaos befalls: three pools of simulated model servers, a route over them, its router."""

from __future__ import annotations

import json
import time
import urllib.request
from dataclasses import dataclass
from typing import Any

from cluster.kubernetes.access import KubectlError, Kubernetes
from cluster.node.away import ROUTER_PODS, operator_pods, pods
from cluster.node.installation import RELEASE, ROUTER, SYSTEM
from cluster.node.pools import model_pool, model_route, pretend_gpus
from cluster.node.workloads import MODEL_PORT, Workloads

Object = dict[str, Any]

MODEL = "chaos"
TOLD_MODEL = "chaos-told"
"""The same by a route whose streams are to end in an error event where they break."""
REPLICAS = {"alpha": 3, "beta": 2, "gamma": 2}
"""Of each pool, as long as nothing happens to it."""
PACE = {"FIRST_TOKEN_MS": 20, "PER_TOKEN_MS": 20, "LOAD_SECONDS": 2}
_RESTARTS = 2
"""A container that was restarted so often waits long before its next start; its pod is replaced."""
_LONGEST_HEALING_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Stage:
    """Where everything is."""

    workloads: Workloads

    @property
    def kubernetes(self) -> Kubernetes:
        """The cluster."""
        return self.workloads.kubernetes

    @property
    def pools(self) -> tuple[str, ...]:
        """All of them are allowed for every request."""
        return tuple(REPLICAS)

    def set_up(self) -> str:
        """Apply everything and wait until it serves; the base URL of the API."""
        pretend_gpus(self.kubernetes)
        pools = [_pool(name, replicas) for name, replicas in REPLICAS.items()]
        self.workloads.apply(*pools, _route(MODEL), _route(TOLD_MODEL, brokenStreams="ErrorEvent"))
        self.wait_until_whole()
        return f"{self.workloads.service_url(ROUTER, 8080)}/v1"

    def servers(self, pool: str) -> list[Object]:
        """Pods of a pool's model servers that are not on their way out."""
        return pods(self.kubernetes, self.workloads.namespace, f"modelrouter.dev/pool={pool}")

    def scale(self, pool: str, replicas: int) -> None:
        """Have so many servers in a pool from now on."""
        self.workloads.kubectl("scale", f"mpool/{pool}", f"--replicas={replicas}")

    def routers(self) -> list[Object]:
        """The router's pods."""
        return pods(self.kubernetes, self.workloads.namespace, ROUTER_PODS)

    def heal(self) -> float:
        """Put right what is left of a round; how many seconds until all was whole."""
        began = time.monotonic()
        if self.kubernetes.is_own:
            self.kubernetes.start_api_server()
        for pool, replicas in REPLICAS.items():
            self.scale(pool, replicas)
            for pod in self.servers(pool):
                set_faults(pod, {})
                self._replace_if_worn(pod)
        for pod in (*self.routers(), *operator_pods(self.kubernetes)):
            self._replace_if_worn(pod)
        self.wait_until_whole()
        return time.monotonic() - began

    def wait_until_whole(self) -> None:
        """All pods that should be there are, and the statuses of all resources say so.

        Raises:
            KubectlError: it takes too long.
        """
        deadline = time.monotonic() + _LONGEST_HEALING_SECONDS
        while True:
            try:
                wait = ("--for=condition=Ready", "mroute,mpool", "--all", "--timeout=5s")
                self.workloads.kubectl("wait", *wait)
                for name in (*(f"model-pool-{pool}" for pool in REPLICAS), ROUTER):
                    rollout = ("rollout", "status", f"deployment/{name}", "--timeout=5s")
                    self.workloads.kubectl(*rollout)
                system = ("-n", SYSTEM, f"deployment/{RELEASE}", "--timeout=5s")
                self.kubernetes.kubectl("rollout", "status", *system)
                return
            except KubectlError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def _replace_if_worn(self, pod: Object) -> None:
        statuses = [
            status
            for kind in ("initContainerStatuses", "containerStatuses")
            for status in pod["status"].get(kind, [])
        ]
        if any(status["restartCount"] >= _RESTARTS for status in statuses):
            name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
            delete = ("delete", "pod", name, "-n", namespace, "--wait=false", "--ignore-not-found")
            self.kubernetes.kubectl(*delete)


def set_faults(pod: Object, plan: Object) -> bool:
    """Tell a simulated server how requests go wrong from now on; whether it heard it."""
    address = pod["status"].get("podIP")
    url = f"http://{address}:{MODEL_PORT}/_simulate"
    request = urllib.request.Request(url, json.dumps(plan).encode(), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=2):
            return True
    except OSError:
        return False


def _pool(name: str, replicas: int) -> Object:
    spec = {
        "healthCheck": {"path": "/health", "interval": "1s", "timeout": "1s"},
        "outlierDetection": {"consecutiveErrors": 5, "baseEjectionTime": "5s"},
    }
    return model_pool(name, environment=PACE, spec=spec, replicas=replicas)


def _route(model: str, **more: Any) -> Object:
    weights = zip(REPLICAS, (50, 30, 20), strict=True)
    targets = [{"pool": pool, "weight": weight} for pool, weight in weights]
    return model_route(
        model,
        *REPLICAS,
        rules=[{"name": "default", "targets": targets}],
        # A server that is frozen costs so long.
        retry={"attempts": 2, "perTryTimeout": "4s"},
        **more,
    )
