"""What KEDA asks the operator about the load of a pool: where, how often, and what is told.

KEDA asks by its `metrics-api` scaler, and so needs neither Prometheus nor rights of its own. See
https://keda.sh/docs/latest/scalers/metrics-api/.
"""

from __future__ import annotations

from collections.abc import Mapping

from modelrouter.api.autoscaling import TargetMetric

POLLING_SECONDS = 2
"""How often KEDA asks: this long a request may have to wait before it starts the first replica."""
REQUESTS = "requests"
"""In the operator's answer: requests under way or held by a router."""
FIGURES: Mapping[TargetMetric, str] = {
    "running_requests": "runningRequests",
    "waiting_requests": "waitingRequests",
    "kv_cache_percent": "kvCachePercent",
}
"""In the operator's answer: what a target is about, summed over the pool."""


def scale_path(namespace: str, pool: str) -> str:
    """Where the operator answers for a pool."""
    return f"/scale/{namespace}/{pool}"
