"""How many servers of a pool may be evicted at once."""

from __future__ import annotations

from modelrouter.api.pool import ModelPool
from modelrouter.plan.vllm.naming import Object, child_name, metadata, pod_selector


def plan_disruption_budget(pool: ModelPool) -> Object:
    """One after the other; a server that does not work anyway may always go."""
    name = pool.metadata.name
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(pool, child_name(name)),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": pod_selector(name)},
        },
    }
