"""The ScaledObject of a pool: how KEDA scales its Deployment.

See https://keda.sh/docs/latest/reference/scaledobject-spec/.
"""

from __future__ import annotations

import math
from typing import Any

from modelrouter.api.autoscaling import ScalingEngine
from modelrouter.api.pool import ModelPool
from modelrouter.plan.scaling.keda import FIGURES, POLLING_SECONDS, REQUESTS, scale_path
from modelrouter.plan.vllm.naming import child_name, metadata

LONGEST_WINDOW_SECONDS = 3600
"""The longest window that a HorizontalPodAutoscaler takes."""
_NEVER_MORE_THAN_ONE = 1_000_000_000
"""A target that no load reaches: the trigger decides between none and one replica only."""


def plan_scaled_object(pool: ModelPool, url: str) -> dict[str, Any] | None:
    """The ScaledObject of a pool; `url` is where KEDA reaches the operator, empty if there is no
    KEDA. None: the pool has none."""
    vllm, namespace = pool.spec.vllm, pool.metadata.namespace
    spec = vllm.autoscaling if vllm is not None else None
    if spec is None or spec.engine is not ScalingEngine.KEDA or not url:
        return None
    name = child_name(pool.metadata.name)
    delay = math.ceil(spec.scale_down_seconds)
    asked = url.rstrip("/") + scale_path(namespace, pool.metadata.name)
    triggers = [_trigger("load", asked, FIGURES[spec.target.metric], spec.target.value)]
    if spec.from_zero and spec.target.metric != "running_requests":
        # The figures of servers that do not run start nothing, and say nothing of requests.
        triggers.append(_trigger(REQUESTS, asked, REQUESTS, _NEVER_MORE_THAN_ONE))
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": metadata(pool, name),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicaCount": spec.min_replicas,
            "maxReplicaCount": spec.max_replicas,
            "pollingInterval": POLLING_SECONDS,
            "cooldownPeriod": delay,
            "advanced": {
                "horizontalPodAutoscalerConfig": {
                    "behavior": {
                        "scaleDown": {
                            "stabilizationWindowSeconds": min(delay, LONGEST_WINDOW_SECONDS)
                        }
                    }
                }
            },
            "triggers": triggers,
        },
    }


def _trigger(name: str, url: str, figure: str, target: int) -> dict[str, Any]:
    return {
        "type": "metrics-api",
        "name": name,
        "metricType": "AverageValue",
        "metadata": {
            "url": url,
            "valueLocation": figure,
            "targetValue": str(target),
            # Active as soon as there is anything at all.
            "activationTargetValue": "0",
        },
    }
