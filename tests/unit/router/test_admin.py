"""The agent's own HTTP server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from modelrouter.kube.watching import WatchHealth
from modelrouter.router.admin import make_app
from modelrouter.router.kubernetes.metrics import WatchCollector
from modelrouter.router.pool_counts import PoolCounts


class Reporter:
    """An agent that says what it is told."""

    def __init__(self) -> None:
        self.version = "1"
        self.counts = PoolCounts(renewal_seconds=0.0)
        self.moved = asyncio.Event()

    @property
    def acknowledged(self) -> str:
        return self.version

    def readiness(self) -> tuple[bool, Mapping[str, Any]]:
        return False, {"problems": []}

    def view(self) -> Mapping[str, Any]:
        return {}

    async def changed(self, after: str) -> str:
        while self.version == after:
            await self.moved.wait()
        return self.version


class Admin:
    def __init__(self, agent: Reporter, url: str, session: aiohttp.ClientSession) -> None:
        self.agent, self._url, self._session = agent, url, session

    async def configz(self, **query: str) -> Any:
        async with self._session.get(f"{self._url}/configz", params=query) as response:
            return await response.json()

    async def metrics(self) -> str:
        async with self._session.get(f"{self._url}/metrics") as response:
            return await response.text()


@pytest.fixture
async def admin() -> AsyncIterator[Admin]:
    agent, registry = Reporter(), CollectorRegistry()
    health = WatchHealth("configmaps", connected=True, lists=2, changes=7)
    registry.register(WatchCollector(lambda: iter([("configmaps", health)])))
    runner = web.AppRunner(make_app(agent, registry), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession() as session:
        yield Admin(agent, f"http://127.0.0.1:{runner.addresses[0][1]}", session)
    await runner.cleanup()


ONE = {"a": {"ready": 1, "total": 1}}


async def test_configz_tells_the_version_and_the_counts(admin: Admin) -> None:
    admin.agent.counts.offer(ONE)
    answer = await admin.configz()
    assert answer == {"version": "1", "pools": ONE, "poolsDigest": admin.agent.counts.digest}


async def test_configz_waits_for_another_version(admin: Admin) -> None:
    asking = asyncio.create_task(admin.configz(after="1"))
    await asyncio.sleep(0.1)
    admin.agent.counts.offer(ONE)  # nobody asked for these
    await asyncio.sleep(0.1)
    assert not asking.done()
    admin.agent.version = "2"
    admin.agent.moved.set()
    assert (await asking)["version"] == "2"


async def test_configz_waits_for_other_counts_too_when_asked(admin: Admin) -> None:
    before = await admin.configz()
    asking = asyncio.create_task(admin.configz(after="1", pools=before["poolsDigest"]))
    await asyncio.sleep(0.1)
    assert not asking.done()
    admin.agent.counts.offer(ONE)
    assert (await asyncio.wait_for(asking, 5))["pools"] == ONE


async def test_configz_answers_in_time_without_news(admin: Admin) -> None:
    digest = admin.agent.counts.digest
    answer = await admin.configz(after="1", pools=digest, timeout="0.1")
    assert answer["version"] == "1"
    assert await admin.configz(timeout="x", after="1") == {
        "error": "timeout: write a number of seconds"
    }


async def test_metrics_tell_of_watches(admin: Admin) -> None:
    text = await admin.metrics()
    assert 'modelrouter_watch_connected{resource="configmaps"} 1.0' in text
    assert 'modelrouter_watch_lists_total{resource="configmaps"} 2.0' in text
    assert 'modelrouter_watch_changes_total{resource="configmaps"} 7.0' in text
    assert 'modelrouter_watch_failures_total{resource="configmaps"} 0.0' in text
