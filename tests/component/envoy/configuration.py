"""Pools and routes of a RouterConfig, as short as can be."""

from __future__ import annotations

from typing import Any

from component.envoy.backends import Backend

EJECTION = {"consecutive_errors": 3, "base_ejection_time_ms": 60_000, "max_ejection_percent": 100}


def pool(*backends: Backend, model: str = "real", **more: Any) -> dict[str, Any]:
    """A pool of a RouterConfig."""
    addresses = [backend.address for backend in backends]
    return {"model": model, "addresses": addresses, "ejection": EJECTION, **more}


def route(*pools: str, models: list[str], **more: Any) -> dict[str, Any]:
    """A route of a RouterConfig that tries the pools in order."""
    defaults = {
        "models": models,
        "pools": sorted(set(pools)),
        "rules": [
            {
                "name": "default",
                "targets": [{"pool": pools[0], "weight": 1}],
                "failover": list(pools[1:]),
            }
        ],
        "retry": {"attempts_per_pool": 1, "triggers": ["connect-failure", "reset", "5xx", "429"]},
        "request_timeout_ms": 10_000,
        "idle_timeout_ms": 2_000,
        "fallthrough": {"pools": list(pools), "closed": False},
    }
    return {**defaults, **more}
