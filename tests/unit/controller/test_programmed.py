"""Asking router pods what they have acknowledged. The agents here are real HTTP servers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from modelrouter.api.manifests import Key
from modelrouter.controller import programmed
from modelrouter.controller.pods import Pod
from modelrouter.controller.programmed import AgentPolls
from modelrouter.plan.facts import Counts, PoolLoad

ROUTER = ("ns", "default")


class Agent:
    """Answers as an agent does."""

    def __init__(self) -> None:
        self.version = "v1"
        self.pools = {"a": {"ready": 1, "total": 2}}
        self.digest = "d1"
        self.changed = asyncio.Event()
        self.asked = 0
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        query = request.query
        if query.get("after") == self.version and query.get("pools") == self.digest:
            await asyncio.wait_for(self.changed.wait(), float(query["timeout"]))
        return web.json_response(
            {"version": self.version, "pools": self.pools, "poolsDigest": self.digest}
        )

    def change(self, **values: Any) -> None:
        for name, value in values.items():
            setattr(self, name, value)
        self.changed.set()
        self.changed = asyncio.Event()

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/configz", self.answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()


class Told:
    """What the polls told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Key, bool, set[str]]] = []
        self.loads: list[tuple[Key, set[str]]] = []

    def __call__(self, router: Key, news: bool, pools: Iterable[str]) -> None:
        self.calls.append((router, news, set(pools)))

    def load(self, router: Key, pools: Iterable[str]) -> None:
        self.loads.append((router, set(pools)))


def pod(name: str = "p", uid: str = "u", ready: bool = True) -> Pod:
    return Pod(("ns", name), uid, ROUTER, "127.0.0.1", ready)


@pytest.fixture
async def agent() -> AsyncIterator[Agent]:
    agent = Agent()
    await agent.start()
    yield agent
    await agent.stop()


@asynccontextmanager
async def polls_of(agent: Agent, told: Told) -> AsyncIterator[AgentPolls]:
    async with aiohttp.ClientSession() as session:
        polls = AgentPolls(session, told, told.load, port=agent.port)
        yield polls
        await polls.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_versions_and_endpoints_are_told_as_they_change(agent: Agent) -> None:
    told = Told()
    async with polls_of(agent, told) as polls:
        polls.follow(ROUTER, [pod()])
        assert not polls.settled([pod()])
        await until(lambda: len(told.calls) == 1)
        assert told.calls == [(ROUTER, True, {"a"})]
        assert polls.settled([pod()])
        facts = polls.facts(pod())
        assert (facts.version, facts.pools) == ("v1", {"a": Counts(1, 2)})
        agent.change(version="v2")
        await until(lambda: len(told.calls) == 2)
        assert told.calls[1] == (ROUTER, True, set())
        agent.change(pools={"a": {"ready": 2, "total": 2}}, digest="d2")
        await until(lambda: len(told.calls) == 3)
        assert told.calls[2] == (ROUTER, False, {"a"})


async def test_the_load_is_told_apart_from_the_endpoints(agent: Agent) -> None:
    told = Told()
    async with polls_of(agent, told) as polls:
        assert polls.loads(pod()) is None
        agent.change(pools={"a": {"ready": 1, "total": 1, "inFlight": 0, "waiting": 0}})
        polls.follow(ROUTER, [pod()])
        await until(lambda: len(told.loads) == 1)
        agent.change(
            pools={"a": {"ready": 1, "total": 1, "inFlight": 3, "waiting": 2}}, digest="d2"
        )
        await until(lambda: len(told.loads) == 2)
        assert told.loads == [(ROUTER, {"a"}), (ROUTER, {"a"})]
        assert polls.loads(pod()) == {"a": PoolLoad(in_flight=3, waiting=2)}
        assert len(told.calls) == 1, "statuses do not depend on the load"
        agent.change(pools={"a": {"ready": 1, "total": 1}}, digest="d3")
        await until(lambda: polls.loads(pod()) == {})
        assert told.loads[-1] == (ROUTER, {"a"})


async def test_while_nothing_changes_one_question_stays_open(agent: Agent) -> None:
    told = Told()
    async with polls_of(agent, told) as polls:
        polls.follow(ROUTER, [pod()])
        await until(lambda: agent.asked == 2)
        polls.follow(ROUTER, [pod(ready=False)])
        await asyncio.sleep(0.3)
        assert agent.asked == 2


async def test_a_pod_that_falls_silent_keeps_its_answer_for_a_while_then_counts_as_lost(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programmed, "PATIENCE_SECONDS", 0.5)
    told = Told()
    async with polls_of(agent, told) as polls:
        polls.follow(ROUTER, [pod()])
        await until(lambda: polls.facts(pod()).version == "v1")
        stopped = time.monotonic()
        await agent.stop()
        await until(lambda: polls.facts(pod()).version is None)
        assert time.monotonic() - stopped >= 0.5
        await until(lambda: len(told.calls) == 2)
        assert polls.settled([pod()])
        await agent.start()
        await until(lambda: polls.facts(pod()).version == "v1")
        await until(lambda: len(told.calls) == 3)


async def test_a_pod_made_anew_under_its_old_name_starts_from_nothing(agent: Agent) -> None:
    told = Told()
    async with polls_of(agent, told) as polls:
        polls.follow(ROUTER, [pod()])
        await until(lambda: polls.facts(pod()).version == "v1")
        polls.follow(ROUTER, [pod(uid="other")])
        assert polls.facts(pod(uid="other")).version is None
        polls.follow(ROUTER, [])
        assert polls.facts(pod()).version is None


async def test_pods_of_other_routers_are_left_alone(agent: Agent) -> None:
    told = Told()
    async with polls_of(agent, told) as polls:
        polls.follow(ROUTER, [pod()])
        await until(lambda: polls.facts(pod()).version == "v1")
        polls.follow(("ns", "other"), [])
        assert polls.facts(pod()).version == "v1"
