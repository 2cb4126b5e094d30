"""Asks model servers for their queues, for pools with `loadBalancing: LeastQueue`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import aiohttp

from modelrouter.api.pool import LoadBalancing
from modelrouter.api.router_config import PoolConfig
from modelrouter.plan.scaling.exposition import read_server
from modelrouter.policy.queueing import Queue, weights
from modelrouter.router.following import ServiceFollower

PERIOD_SECONDS = 1.0
PATIENCE_SECONDS = 1.0
"""A server that takes longer tells nothing this time."""
AT_ONCE = 64
"""Servers that are asked at the same time."""


async def watch_queues(
    endpoints: ServiceFollower, pools: Callable[[], Mapping[str, PoolConfig]]
) -> None:
    """Weigh the endpoints of such pools by their queues, for ever. Other pools cost nothing."""
    timeout = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
    connector = aiohttp.TCPConnector(limit=AT_ONCE)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        weighed: set[str] = set()
        while True:
            for name, pool in list(pools().items()):
                if pool.load_balancing is LoadBalancing.LEAST_QUEUE:
                    weighed.add(name)
                    addresses = endpoints.addresses(pool)
                    told = await asyncio.gather(*(_ask(session, each) for each in addresses))
                    queues = dict(zip(addresses, told, strict=True))
                    endpoints.weigh(name, pool, weights(queues))
                elif name in weighed:
                    weighed.remove(name)
                    endpoints.weigh(name, pool, {})
            await asyncio.sleep(PERIOD_SECONDS)


async def _ask(session: aiohttp.ClientSession, address: str) -> Queue | None:
    try:
        async with session.get(f"http://{address}/metrics") as response:
            if response.status != 200:
                return None
            load = read_server(address, await response.text(errors="replace"))
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return None
    if load.waiting_requests is None:
        return None
    return Queue(load.waiting_requests, (load.kv_cache_percent or 0.0) / 100)
