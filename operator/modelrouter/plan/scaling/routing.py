"""`autoscaling` of a pool → what its routers need to know of it."""

from __future__ import annotations

from modelrouter.api.autoscaling import Autoscaling
from modelrouter.api.router_config import PoolScaling


def plan_scaling(autoscaling: Autoscaling | None) -> PoolScaling | None:
    """What routers are told; None: the pool is not autoscaled."""
    if autoscaling is None:
        return None
    return PoolScaling(
        from_zero=autoscaling.from_zero,
        on_cold_start=autoscaling.cold_start,
        max_waiting=autoscaling.most_waiting,
        wait_timeout_ms=autoscaling.wait_timeout_ms,
    )
