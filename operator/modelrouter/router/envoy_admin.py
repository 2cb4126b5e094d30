"""What the agent asks Envoy's admin interface: how many endpoints are well, and to drain."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import aiohttp
import orjson
import structlog

from modelrouter.router.accounting.metrics import PoolGauge

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
HURRIED_POLL_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
"""An Envoy that is busy with a large configuration answers late: that is no reason to look away."""
_POOL_GAUGE = re.compile(
    r"^cluster\.(.+)\.(membership_healthy|membership_total|upstream_rq_active"
    r"|outlier_detection\.ejections_active)$"
)


class EnvoyAdmin:
    """A client of the admin interface on its Unix socket."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> EnvoyAdmin:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(self._socket), limit=2),
            timeout=aiohttp.ClientTimeout(total=5),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def gauges(self, pattern: str) -> dict[str, int]:
        """Statistics whose names match; empty while Envoy cannot be asked."""
        query = {"filter": pattern, "type": "Gauges", "format": "json"}
        try:
            assert self._session is not None
            async with self._session.get("http://envoy/stats", params=query) as response:
                stats = orjson.loads(await response.read())["stats"]
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            return {}
        return {stat["name"]: stat["value"] for stat in stats if "name" in stat}

    async def memberships(self) -> dict[str, PoolGauge]:
        """Healthy, ejected and all endpoints of every pool's cluster, and the requests in them.

        Each cluster has one endpoint more than the pool, the void one that answers when no real
        one can; it is always healthy.
        """
        counts: dict[str, dict[str, int]] = {}
        for name, value in (await self.gauges(_POOL_GAUGE.pattern)).items():
            if match := _POOL_GAUGE.match(name):
                counts.setdefault(match[1], {})[match[2]] = value
        return {
            cluster: PoolGauge(
                max(count["membership_healthy"] - 1, 0),
                max(count["membership_total"] - 1, 0),
                count.get("upstream_rq_active", 0),
                count.get("outlier_detection.ejections_active", 0),
            )
            for cluster, count in counts.items()
            if not cluster.startswith("_") and "membership_healthy" in count
        }

    async def active_requests(self) -> int:
        """Requests that clients are waiting for; nobody waits for copies."""
        found = await self.gauges(r"^http\..*\.downstream_rq_active$")
        others = ("http.admin.", "http.mirror.")
        return sum(value for name, value in found.items() if not name.startswith(others))

    async def open_connections(self) -> int:
        """Connections of clients, used or not."""
        found = await self.gauges(r"^http\.models\.downstream_cx_active$")
        return sum(found.values())

    async def started_at(self) -> float | None:
        """When Envoy's process started: seconds since 1970, to the second. None: no answer."""
        try:
            assert self._session is not None
            async with self._session.get("http://envoy/server_info") as response:
                uptime: str = orjson.loads(await response.read())["uptime_current_epoch"]
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError):
            return None
        return time.time() - float(uptime.rstrip("s"))

    async def drain(self) -> bool:
        """Ask Envoy to end connections as their requests end. False when it cannot be asked."""
        query = {"graceful": "", "skip_exit": ""}
        try:
            assert self._session is not None
            url = "http://envoy/drain_listeners"
            async with self._session.post(url, params=query) as response:
                return response.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False


async def watch_memberships(
    admin: EnvoyAdmin,
    report: Callable[[Mapping[str, PoolGauge]], None],
    hurried: Callable[[], bool] = lambda: False,
) -> None:
    """Report memberships for ever, mostly using at most a twentieth of the time for asking.

    `hurried` says whether somebody waits for them.
    """
    while True:
        started = time.monotonic()
        report(await admin.memberships())
        shortest = HURRIED_POLL_SECONDS if hurried() else POLL_SECONDS
        pause = max(shortest, 20 * (time.monotonic() - started))
        await asyncio.sleep(min(pause, LONGEST_PAUSE_SECONDS))
