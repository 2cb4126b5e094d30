"""Streams that the agent watches: one that breaks ends in an event that says so."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import openai
import pytest

from component.holding.rig import CHAT, HELLO, Pair, pool, route
from component.router.processes import eventually
from component.router.simulators import Simulator

GUARDED = {"chat": route("late", "other", broken_streams="ErrorEvent")}
BODY = {"model": "chat", "messages": HELLO}
STREAM: dict[str, Any] = {**BODY, "stream": True}


@pytest.fixture
async def guarded(pair: Pair, late: Simulator, other: Simulator) -> Pair:
    pools = {"late": pool(late), "other": pool(other, model="acme/other")}
    await pair.apply(pools, **GUARDED)
    return pair


def events(text: str) -> list[str]:
    assert text.endswith("\n\n")
    return [event.removeprefix("data: ") for event in text[:-2].split("\n\n")]


async def test_a_whole_stream_is_as_the_server_sent_it(guarded: Pair, late: Simulator) -> None:
    async with guarded.http() as http:
        answer = await http.post(CHAT, json=STREAM)
        direct = await http.post(
            f"http://{late.address}{CHAT}", json={**STREAM, "model": "acme/late"}
        )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == direct.headers["content-type"]
    assert (answer.headers["x-mr-pool"], answer.headers["x-mr-attempts"]) == ("late", "1")
    assert (answer.headers["x-mr-route"], answer.headers["x-mr-reason"]) == ("chat", "rule:default")
    assert "x-mr-again" not in answer.headers

    def said(response: httpx.Response) -> list[Any]:
        *tokens, done = events(response.text)
        assert done == "[DONE]"
        return [json.loads(token)["choices"] for token in tokens]

    assert said(answer) == said(direct)


async def test_events_come_as_they_are_sent(guarded: Pair, late: Simulator) -> None:
    await late.fault(first_token_ms=0, per_token_ms=300)
    body = {**STREAM, "max_tokens": 5, "ignore_eos": True}
    loop = asyncio.get_running_loop()
    moments = []
    async with guarded.http() as http, http.stream("POST", CHAT, json=body) as answer:
        async for _ in answer.aiter_raw():
            moments.append(loop.time())
    assert moments[-1] - moments[0] > 0.9


async def test_a_stream_that_breaks_says_so(guarded: Pair, late: Simulator) -> None:
    await late.fault(mode="cut_stream", fail_rate=1, after_tokens=3, per_token_ms=50)
    failed = {"route": "chat", "pool": "late", "code": "502"}
    before = await guarded.metric("modelrouter_requests_total", **failed)
    async with guarded.http() as http:
        answer = await http.post(CHAT, json=STREAM)
    assert answer.status_code == 200
    *tokens, error, done = events(answer.text)
    assert len([t for t in tokens if json.loads(t)["choices"][0]["delta"].get("content")]) == 3
    assert json.loads(error)["error"]["code"] == "stream_broken"
    assert done == "[DONE]"

    async def counted() -> bool:
        return await guarded.metric("modelrouter_requests_total", **failed) == before + 1

    await eventually(counted)


async def test_the_official_client_raises_it(guarded: Pair, late: Simulator) -> None:
    await late.fault(mode="cut_stream", fail_rate=1, after_tokens=3, per_token_ms=50)
    async with guarded.client() as client:
        stream = await client.chat.completions.create(model="chat", messages=HELLO, stream=True)
        with pytest.raises(openai.APIError, match="failed in the middle of the answer"):
            async for _ in stream:
                pass


async def test_failures_before_the_first_event_fail_over(
    guarded: Pair, late: Simulator, other: Simulator
) -> None:
    await late.fault(fail_rate=1, fail_status=503)
    async with guarded.http() as http:
        answer = await http.post(CHAT, json=STREAM)
        assert (answer.status_code, answer.headers["x-mr-pool"]) == (200, "other")
        await other.fault(fail_rate=1, fail_status=503)
        refused = await http.post(CHAT, json=STREAM)
    assert refused.status_code == 503
    assert refused.json()["error"]["message"]


async def test_others_do_not_pass_through_the_agent(guarded: Pair, late: Simulator) -> None:
    """An answer that is not streamed cannot break in the middle of an event."""
    async with guarded.http() as http:
        assert (await http.post(CHAT, json=BODY)).status_code == 200
        assert (await http.post(CHAT, json=STREAM)).status_code == 200
    plain, streamed = await late.received()
    assert json.loads(plain.body)["messages"] == json.loads(streamed.body)["messages"]
    assert await guarded.metric("modelrouter_requests_total", pool="") == 0


async def test_an_agent_that_dies_costs_no_request_that_has_no_answer_yet(
    own_pair: Pair, late: Simulator
) -> None:
    await own_pair.apply({"late": pool(late)}, chat=route("late", broken_streams="ErrorEvent"))
    await late.fault(first_token_ms=2000)
    async with own_pair.http() as http:
        asked = asyncio.create_task(http.post(CHAT, json=STREAM))
        while not (await late.received()):
            await asyncio.sleep(0.05)
        own_pair.kill_agent()
        answer = await asked
    assert (answer.status_code, answer.headers["x-mr-pool"]) == (200, "late")
    assert events(answer.text)[-1] == "[DONE]"


async def test_a_client_that_leaves_ends_the_request(guarded: Pair, late: Simulator) -> None:
    await late.fault(per_token_ms=100)
    body = {**STREAM, "max_tokens": 1000, "ignore_eos": True}
    async with guarded.http() as http, http.stream("POST", CHAT, json=body) as answer:
        async for _ in answer.aiter_raw():
            break

    async def gone() -> bool:
        return any(request.client_gone for request in await late.received())

    await eventually(gone)
