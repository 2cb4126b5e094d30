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
