"""Pools whose model servers the operator runs, with the simulated vLLM in vLLM's place."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cluster.kubernetes.access import Kubernetes
from cluster.kubernetes.images import operator_image_name
from cluster.kubernetes.node import NODE
from cluster.node.installation import ROUTER
from cluster.node.workloads import RESTRICTED, Workloads

Object = dict[str, Any]

GPU = "nvidia.com/gpu"
_VERSION = "modelrouter.dev/v1alpha1"


def pretend_gpus(kubernetes: Kubernetes, count: int = 32) -> None:
    """Have the node say that it has GPUs. Nothing looks whether that is so.

    The kubelet keeps extended resources that it finds in its node's status.
    """
    amounts = {GPU: str(count)}
    change = {"status": {"capacity": amounts, "allocatable": amounts}}
    patch = ("patch", "node", NODE, "--subresource=status", "-p", json.dumps(change))
    kubernetes.kubectl(*patch)


def model_pool(
    name: str,
    *,
    environment: Mapping[str, object] | None = None,
    spec: Mapping[str, Any] | None = None,
    **vllm: Any,
) -> Object:
    """A ModelPool for the model `acme/NAME` whose pods run the simulated vLLM.

    `environment`: of the simulator, without its prefix. `spec`: more of the pool's. `vllm`: more of
    its `vllm`. Answers that are not streamed name their pod as `system_fingerprint`.
    """
    pod_name = {"fieldRef": {"fieldPath": "metadata.name"}}
    variables: list[Object] = [{"name": "SIMULATE_NAME", "valueFrom": pod_name}]
    variables += [
        {"name": f"SIMULATE_{key}", "value": str(value)}
        for key, value in (environment or {}).items()
    ]
    container = {
        "name": "vllm",
        "command": ["modelrouter", "simulate", "serve"],
        "imagePullPolicy": "IfNotPresent",
        "env": variables,
        "securityContext": RESTRICTED,
        # Without, a busy machine lets them starve: their share of its CPUs would be the smallest.
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
        # As often as an image that starts in a second deserves.
        "startupProbe": {"periodSeconds": 1, "failureThreshold": 600},
        "readinessProbe": {"periodSeconds": 1},
    }
    return {
        "apiVersion": _VERSION,
        "kind": "ModelPool",
        "metadata": {"name": name},
        "spec": {
            "model": f"acme/{name}",
            "vllm": {
                "image": operator_image_name(),
                "drainTimeout": "20s",
                "podTemplate": {"spec": {"containers": [container]}},
                **vllm,
            },
            **(spec or {}),
        },
    }


def model_route(name: str, *pools: str, **spec: Any) -> Object:
    """A ModelRoute of that name."""
    spec = {"models": [name], "pools": list(pools), **spec}
    return {"apiVersion": _VERSION, "kind": "ModelRoute", "metadata": {"name": name}, "spec": spec}


@dataclass(frozen=True, slots=True)
class Pools:
    """Pools in a namespace, and their pods."""

    workloads: Workloads

    def apply(self, *objects: Object, ready: bool = True) -> None:
        """Apply, and wait until every route and pool says that it is Ready."""
        self.workloads.apply(*objects)
        if ready:
            self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Every route and pool says so, and every rollout has ended."""
        for kind in ("mpool", "mroute"):
            self.workloads.kubectl("wait", "--for=condition=Ready", kind, "--all", "--timeout=100s")
        for deployment in self.workloads.get("deployments")["items"]:
            name = deployment["metadata"]["name"]
            self.workloads.kubectl("rollout", "status", f"deployment/{name}", "--timeout=100s")

    def patch(self, pool: str, **vllm: Any) -> None:
        """Change fields of a pool's `vllm`."""
        change = json.dumps({"spec": {"vllm": vllm}})
        self.workloads.kubectl("patch", "mpool", pool, "--type=merge", "-p", change)

    def pods(self, pool: str, *, leaving: bool = False) -> list[Object]:
        """A pool's pods; with `leaving` also those on their way out."""
        found = self.workloads.get("pods", "-l", f"modelrouter.dev/pool={pool}")["items"]
        return [pod for pod in found if leaving or "deletionTimestamp" not in pod["metadata"]]

    def status(self, kind: str, name: str) -> Object:
        """Conditions by their types, as `reason: message`."""
        found = self.workloads.get(kind, name).get("status", {}).get("conditions", [])
        return {each["type"]: f"{each['reason']}: {each['message']}" for each in found}

    @property
    def base_url(self) -> str:
        """Of the OpenAI API at the router's Service."""
        return f"{self.workloads.service_url(ROUTER, 8080)}/v1"


def removed_at(pod: Object) -> float | None:
    """When its deletion began, in seconds since 1970 and to the second; None: it has not."""
    metadata = pod["metadata"]
    if "deletionTimestamp" not in metadata:
        return None
    ends = datetime.fromisoformat(metadata["deletionTimestamp"]).timestamp()
    return ends - float(metadata["deletionGracePeriodSeconds"])


def ready_at(pod: Object) -> float:
    """When it became ready, in seconds since 1970 and to the second."""
    for condition in pod["status"]["conditions"]:
        if condition["type"] == "Ready" and condition["status"] == "True":
            return datetime.fromisoformat(condition["lastTransitionTime"]).timestamp()
    return time.time()
