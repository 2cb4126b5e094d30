"""Keeping the endpoints on disk, for a restart while the API server is away."""

from __future__ import annotations

import asyncio

from modelrouter.router.following import ServiceFollower
from modelrouter.router.last_good import LastGoodConfig

GATHER_SECONDS = 0.5
"""Changes come in groups, as when a Deployment rolls: one writing for all of them."""


async def keep_endpoints(endpoints: ServiceFollower, last_good: LastGoodConfig) -> None:
    """Save the endpoints after each change, for ever."""
    changed = asyncio.Event()
    endpoints.on_change = changed.set
    if endpoints.services.heard:
        changed.set()
    while True:
        await changed.wait()
        await asyncio.sleep(GATHER_SECONDS)
        changed.clear()
        await asyncio.to_thread(last_good.save_endpoints, endpoints.services.plain())
