"""What is known about the pools at the moment of a decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(slots=True)
class PoolState:
    """One pool as its observer sees it. Mutable, so that an observer may count in place."""

    ready: int | None = None
    """Endpoints that take requests; `None` while nobody knows."""
    endpoints: int | None = None
    """All endpoints, ready or not; `None` while nobody knows."""
    in_flight: int = 0
    """Requests that this router has sent to the pool and that have not ended."""
    cold: bool = False
    """Whether a pool that scales from zero has had no endpoint and has none that is ready yet.
    `ready` is 0 then."""
    waiting: int = 0
    """Requests that wait in this router for the first endpoint of a cold pool."""
    absent: int = 0
    """Endpoints besides, which the cluster lists but which are not ready."""


State = Mapping[str, PoolState]
"""Pools by name. A pool that is missing is taken to be ready, with an unknown number of endpoints
and no limit reached: ignorance never takes a pool out of service."""
