"""Whose failure it was, and what clients thought: the figures of a canary's arms."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from component.feedback.conftest import Routers, answered, pools, split
from component.holding.rig import CHAT, HELLO, Pair
from component.router.processes import ask, eventually
from component.router.simulators import Simulator
from modelrouter.plan.canary.measurement import Measurement, read_document
from modelrouter.router.measuring.measurements import SETTLING_SECONDS

IDS = (f"canary-{number}" for number in itertools.count())
STREAM = {"stream": True, "stream_options": {"include_usage": True}}


class Canary:
    """A canary that gets all requests, with figures of its own."""

    def __init__(self, pair: Pair, pools: dict[str, Any]) -> None:
        self.pair, self.pools = pair, pools
        self.id = next(IDS)

    async def begin(self, weight: int = 100, **fields: Any) -> None:
        await self.pair.apply(self.pools, chat=split(self.id, weight, **fields))
        await asyncio.sleep(SETTLING_SECONDS + 0.1)

    async def told(self, *seconds: int) -> dict[str, Any]:
        query = urlencode([("route", "chat"), *(("seconds", each) for each in seconds)])
        answer: dict[str, Any] = await ask(self.pair.admin_port, "GET", f"/measurementz?{query}")
        return answer

    async def arms(self, requests: int, seconds: int = 60) -> tuple[Measurement, Measurement]:
        """The figures, once so many requests are counted; never more."""

        async def counted() -> tuple[Measurement, Measurement] | None:
            told = await self.told(seconds)
            assert told["id"] == self.id
            window = told["windows"][str(seconds)]
            arms = read_document(window["stable"]), read_document(window["canary"])
            total = sum(arm.requests for arm in arms)
            assert total <= requests
            return arms if total == requests else None

        found: tuple[Measurement, Measurement] = await eventually(counted, within=10)
        return found

    async def post(self, **fields: Any) -> httpx.Response:
        async with self.pair.http() as http:
            body = {"model": "chat", "messages": HELLO, "max_tokens": 8, **fields}
            return await http.post(CHAT, json=body)


@pytest.fixture
async def canary(both: Routers, old: Simulator, new: Simulator) -> AsyncIterator[Canary]:
    made = Canary(both.one, pools(old, new))
    await made.begin()
    yield made
    await both.one.apply(made.pools, chat=split(None))


async def test_what_succeeded(canary: Canary) -> None:
    whole = await canary.post()
    assert whole.headers["x-mr-reason"] == "rule:default; canary"
    await canary.post(**STREAM)
    stable, measured = await canary.arms(requests=2)
    assert stable.requests == 0
    assert measured.failures == {}
    assert sum(measured.latency.values()) == 2
    assert sum(measured.first_token.values()) == 1, "only streams have one"
    usage = whole.json()["usage"]
    cost = usage["prompt_tokens"] * 1e-6 + usage["completion_tokens"] * 100e-6
    assert measured.cost.n == 2
    assert measured.cost.mean == pytest.approx(cost, rel=0.01)


@pytest.mark.parametrize("status", [500, 503])
async def test_a_failure_that_the_stable_pool_made_good(
    canary: Canary, new: Simulator, status: int
) -> None:
    await new.fault(fail_status=status)
    answer = await canary.post()
    assert (answer.status_code, answer.headers["x-mr-pool"]) == (200, "old")
    stable, measured = await canary.arms(requests=1)
    assert stable.requests == 0
    assert measured.failures == {"rescued": 1}
    assert not measured.latency, "that was the other pool's"


async def test_a_connection_that_was_reset(canary: Canary, new: Simulator) -> None:
    await new.fault(mode="reset")
    assert (await canary.post()).headers["x-mr-pool"] == "old"
    _, measured = await canary.arms(requests=1)
    assert measured.failures == {"rescued": 1}


async def test_statuses_that_reach_the_client(canary: Canary, new: Simulator) -> None:
    retry = {"attempts_per_pool": 1, "triggers": ["connect-failure"]}
    await canary.begin(retry=retry)
    for status, count in ((500, 1), (429, 2), (400, 1)):
        await new.fault(fail_status=status)
        for _ in range(count):
            assert (await canary.post()).status_code == status
    _, measured = await canary.arms(requests=4)
    assert measured.failures == {"serverError": 1, "rateLimited": 2}


async def test_a_stream_that_broke_off(canary: Canary, new: Simulator) -> None:
    await new.fault(mode="cut_stream", after_tokens=3, per_token_ms=50)
    with pytest.raises(httpx.RemoteProtocolError):
        await canary.post(**STREAM)
    _, measured = await canary.arms(requests=1)
    assert measured.failures == {"brokenStream": 1}
    assert not measured.first_token


async def test_a_stream_that_fell_silent(canary: Canary, new: Simulator) -> None:
    await canary.begin(idle_timeout_ms=300)
    await new.fault(mode="stall_stream", after_tokens=3)
    with pytest.raises(httpx.RemoteProtocolError):
        await canary.post(**STREAM)
    _, measured = await canary.arms(requests=1)
    assert measured.failures == {"brokenStream": 1}


async def test_clients_that_left(canary: Canary, new: Simulator) -> None:
    """In the middle of a stream, and before there was an answer."""
    await new.fault(first_token_ms=10, per_token_ms=200)
    async with canary.pair.http() as http:
        body = {"model": "chat", "messages": HELLO, "max_tokens": 100, "stream": True}
        async with http.stream("POST", CHAT, json=body) as answer:
            async for _ in answer.aiter_bytes():
                break
    await new.fault(mode="hang")
    async with canary.pair.http(timeout=0.3) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.post(CHAT, json={"model": "chat", "messages": HELLO})
    await new.fault()

    async def both_gone() -> bool:
        last = await new.received(last=2)
        return all(request.client_gone for request in last)

    await eventually(both_gone)
    await canary.post()
    _, measured = await canary.arms(requests=1)
    assert measured.failures == {}


async def test_both_arms_and_shares(canary: Canary) -> None:
    """Also where Envoy applies shared decisions by itself."""
    await canary.begin(weight=40)
    pools = []
    for _ in range(60):
        pools.append((await canary.post()).headers["x-mr-pool"])
    stable, measured = await canary.arms(requests=60)
    assert (stable.requests, measured.requests) == (pools.count("old"), pools.count("new"))
    assert measured.requests > 5


async def test_another_weight_keeps_the_figures_and_another_canary_does_not(
    canary: Canary,
) -> None:
    await canary.post()
    await canary.arms(requests=1)
    await canary.begin(weight=90)
    await canary.arms(requests=1)
    canary.id = next(IDS)
    await canary.begin()
    await canary.arms(requests=0)
    told = await canary.told(1, 3600)
    assert told["route"] == "chat"
    assert set(told["windows"]) == {"1", "3600"}
    assert 0 < told["windows"]["3600"]["covers"] < 60


async def test_without_a_canary_there_are_no_figures(both: Routers, canary: Canary) -> None:
    await both.one.apply(canary.pools, chat=split(None))
    await canary.post()
    assert await canary.told(60) == {"route": "chat", "id": "", "windows": {}}


async def test_scores_are_the_arm_s_quality(canary: Canary, new: Simulator) -> None:
    async def rate(score: float) -> None:
        feedback = {"request_id": await answered(canary.pair), "score": score}
        async with canary.pair.http() as http:
            assert (await http.post("/v1/feedback", json=feedback)).status_code == 202

    await rate(1.0)
    await rate(0.5)
    await new.fault(fail_status=500)
    await rate(0.0)
    stable, measured = await canary.arms(requests=3)
    assert (measured.quality.n, measured.quality.mean) == (2, 0.75)
    assert stable.quality.n == 0, "the request was the candidate's, the answer was not"


@pytest.mark.parametrize(
    "query", ["", "route=chat&seconds=0", "route=chat&seconds=3601", "seconds=1"]
)
async def test_questions_that_are_wrong(both: Routers, query: str) -> None:
    answer = await ask(both.one.admin_port, "GET", f"/measurementz?{query}", ok=(400,))
    assert answer["error"]
