"""The pods of a pool, each one server.

Nothing here depends on what only routers need to know (price, quality, features and so on), so
that changing it never restarts a server.
"""

from __future__ import annotations

from modelrouter.api.pool import ModelPool
from modelrouter.api.vllm import Vllm
from modelrouter.plan.vllm.command import COMMAND, plan_args, plan_environment
from modelrouter.plan.vllm.naming import (
    CONTAINER,
    PORT,
    PORT_NAME,
    Object,
    pod_selector,
    pool_labels,
)
from modelrouter.plan.vllm.times import LEAVING_SECONDS, grace_seconds, startup_seconds
from modelrouter.plan.vllm.volumes import keeps_to_one_node, plan_volumes

_GPU = "nvidia.com/gpu"
_STARTUP_PERIOD = 5


def plan_pod(pool: ModelPool, vllm: Vllm) -> Object:
    """The pod template, before the user's changes."""
    name = pool.metadata.name
    volumes, mounts = plan_volumes(name, vllm)
    spec: Object = {
        "terminationGracePeriodSeconds": grace_seconds(vllm),
        "automountServiceAccountToken": False,
        # A Service called vllm would otherwise set VLLM_PORT, which vLLM takes for its own.
        "enableServiceLinks": False,
        # vLLM's image runs as root; everything else that the restricted standard asks for holds.
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        **_placement(name, vllm),
        "containers": [{**_container(pool, vllm), "volumeMounts": mounts}],
        "volumes": volumes,
    }
    # What `kubectl logs` and `kubectl exec` take without -c, whatever is added to the pod.
    annotations = {"kubectl.kubernetes.io/default-container": CONTAINER}
    return {"metadata": {"labels": pool_labels(name), "annotations": annotations}, "spec": spec}


def _container(pool: ModelPool, vllm: Vllm) -> Object:
    startup = -(-startup_seconds(vllm) // _STARTUP_PERIOD)
    return {
        "name": CONTAINER,
        "image": vllm.image,
        "command": list(COMMAND),
        "args": plan_args(pool, vllm),
        "env": plan_environment(vllm),
        "ports": [{"name": PORT_NAME, "containerPort": PORT, "protocol": "TCP"}],
        # The port is closed until the model is loaded.
        "startupProbe": _probe(period=_STARTUP_PERIOD, timeout=5, failures=startup),
        "readinessProbe": _probe(period=5, timeout=5, failures=2),
        # A server whose engine has died ends by itself; this is for one that hangs. A server
        # with much to do may answer late and must not be killed for it.
        "livenessProbe": _probe(period=10, timeout=10, failures=6),
        "lifecycle": {"preStop": {"sleep": {"seconds": LEAVING_SECONDS}}},
        "resources": _resources(vllm),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        # The last lines of the log say why a server ended.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _probe(*, period: int, timeout: int, failures: int) -> Object:
    return {
        "httpGet": {"path": "/health", "port": PORT_NAME},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }


def _resources(vllm: Vllm) -> Object:
    if vllm.resources is None:
        return {"limits": {_GPU: str(vllm.tensor_parallel_size)}}
    amounts = {"limits": vllm.resources.limits, "requests": vllm.resources.requests}
    return {name: dict(amount) for name, amount in amounts.items() if amount}


def _placement(pool: str, vllm: Vllm) -> Object:
    """On many nodes, so that the loss of one is not that of the pool; or all on the one that the
    cache is attached to."""
    if keeps_to_one_node(vllm):
        term = {
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": {"matchLabels": pod_selector(pool)},
        }
        required = "requiredDuringSchedulingIgnoredDuringExecution"
        return {"affinity": {"podAffinity": {required: [term]}}}
    places = ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
    return {"topologySpreadConstraints": [_spread(pool, place) for place in places]}


def _spread(pool: str, topology: str) -> Object:
    return {
        "maxSkew": 1,
        "topologyKey": topology,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": pod_selector(pool)},
        # Only pods of one revision: during a rollout the old ones are about to go.
        "matchLabelKeys": ["pod-template-hash"],
    }
