"""The Deployment of a pool."""

from __future__ import annotations

from modelrouter.api.autoscaling import ScalingEngine
from modelrouter.api.pool import ModelPool
from modelrouter.api.vllm import Vllm
from modelrouter.plan.vllm.naming import Object, child_name, metadata, pod_selector
from modelrouter.plan.vllm.overlay import overlaid
from modelrouter.plan.vllm.pod import plan_pod
from modelrouter.plan.vllm.times import startup_seconds

_PULL_SECONDS = 600
"""What an image of some 10 GB may take to be pulled, before the model is loaded."""

_ADAPTER_SECONDS = 15
"""How long a new server is given to load its adapters before an old one goes."""


def plan_deployment(pool: ModelPool, vllm: Vllm, replicas: int | None) -> Object:
    """The Deployment; see `plan_pool_children` for the number of replicas."""
    name = pool.metadata.name
    number = _replicas(vllm, replicas)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(pool, child_name(name)),
        "spec": {
            **({} if number is None else {"replicas": number}),
            # Adapters are loaded when a server is ready; until then only old ones have them.
            **({"minReadySeconds": _ADAPTER_SECONDS} if vllm.lora_adapters else {}),
            "revisionHistoryLimit": 3,
            "progressDeadlineSeconds": startup_seconds(vllm) + _PULL_SECONDS,
            "selector": {"matchLabels": pod_selector(name)},
            # A server that goes is replaced first.
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"},
            },
            "template": overlaid(plan_pod(pool, vllm), vllm.pod_template),
        },
    }


def _replicas(vllm: Vllm, told: int | None) -> int | None:
    """The number to apply; None: it is somebody else's."""
    if vllm.autoscaling is None:
        return 1 if vllm.replicas is None else vllm.replicas
    if vllm.autoscaling.engine is ScalingEngine.KEDA:
        return told
    return vllm.autoscaling.min_replicas if told is None else told
