"""What becomes of requests that have waited when something goes wrong then."""

from __future__ import annotations

import asyncio
import json

import httpx
import openai
import pytest

from component.holding.rig import CHAT, HELLO, Pair, pool, route, scaled
from component.router.client.answers import error_in, error_of
from component.router.processes import ask, eventually
from component.router.simulators import Simulator

AT_ZERO = {"late": scaled()}
ONE_POOL = {"chat": route("late")}
BODY = {"model": "chat", "messages": HELLO}


def event_in(text: str) -> object:
    """The only event of a stream that began with a comment and failed."""
    comments, event = text.removesuffix("\n\ndata: [DONE]\n\n").split("data: ")
    assert set(comments.split("\n\n")) == {": waiting", ""}
    found = json.loads(event)
    assert set(found) == {"error"}
    return found["error"]


async def test_an_answer_that_fails_is_told_as_it_can_be(pair: Pair, late: Simulator) -> None:
    await late.fault(fail_rate=1, fail_status=418)
    await pair.apply(AT_ZERO, **ONE_POOL)
    async with pair.http() as http:
        plain = asyncio.create_task(http.post(CHAT, json=BODY))
        streamed = asyncio.create_task(http.post(CHAT, json={**BODY, "stream": True}))
        await pair.waiting(2)
        await pair.apply({"late": scaled(late)}, **ONE_POOL)
        direct = await http.post(CHAT, json=BODY)
        assert (await plain).status_code == direct.status_code == 418
        assert (await plain).json() == direct.json()
        assert (await streamed).status_code == 200
        assert event_in((await streamed).text) == direct.json()["error"]

    async def counted() -> bool:
        return await pair.metric("modelrouter_requests_total", pool="late", code="418") == 3

    await eventually(counted)


async def test_the_official_client_raises_what_the_event_says(pair: Pair, late: Simulator) -> None:
    await late.fault(fail_rate=1, fail_status=418)
    await pair.apply(AT_ZERO, **ONE_POOL)
    async with pair.client() as client:
        stream = await client.chat.completions.create(model="chat", messages=HELLO, stream=True)
        await pair.apply({"late": scaled(late)}, **ONE_POOL)
        with pytest.raises(openai.APIError) as raised:
            async for _ in stream:
                pass
    assert raised.value.message


async def test_retries_and_failover_are_those_of_any_request(
    pair: Pair, late: Simulator, other: Simulator
) -> None:
    await late.fault(fail_rate=1, fail_status=500)
    routes = {"chat": route("late", "other")}
    both = {"late": scaled(), "other": pool(other, model="acme/other")}
    await pair.apply(both, **routes)
    before = await pair.metric("modelrouter_retries_total", pool="other")
    async with pair.http() as http:
        waiting = asyncio.create_task(http.post(CHAT, json=BODY))
        await pair.waiting(1)
        await pair.apply({**both, "late": scaled(late)}, **routes)
        answer = await waiting
    assert answer.status_code == 200
    assert answer.headers["x-mr-pool"] == "other"
    assert answer.headers["x-mr-attempts"] == "2"
    assert answer.headers["x-mr-reason"] == "rule:default; late cold"

    async def counted() -> bool:
        return await pair.metric("modelrouter_retries_total", pool="other") == before + 1

    await eventually(counted)


async def test_a_stream_that_breaks_never_looks_whole(pair: Pair, late: Simulator) -> None:
    # Slow enough that the first tokens come before the cut, and not in one read with it.
    await late.fault(mode="cut_stream", fail_rate=1, after_tokens=2, per_token_ms=100)
    await pair.apply(AT_ZERO, **ONE_POOL)
    async with pair.http() as http:
        waiting = asyncio.create_task(http.post(CHAT, json={**BODY, "stream": True}))
        await pair.waiting(1)
        await pair.apply({"late": scaled(late)}, **ONE_POOL)
        text = (await waiting).text
    *_, token, error, done, end = text.split("\n\n")
    assert "choices" in json.loads(token.removeprefix("data: "))
    assert json.loads(error.removeprefix("data: "))["error"]["code"] == "stream_broken"
    assert (done, end) == ("data: [DONE]", "")


async def test_a_large_request_arrives_byte_for_byte(pair: Pair, late: Simulator) -> None:
    text = "0123456789" * 400_000
    body = json.dumps({"model": "chat", "messages": [{"role": "user", "content": text}]})
    await pair.apply(AT_ZERO, **ONE_POOL)
    async with pair.http() as http:
        waiting = asyncio.create_task(
            http.post(CHAT, content=body, headers={"content-type": "application/json"})
        )
        await pair.waiting(1)
        await pair.apply({"late": scaled(late)}, **ONE_POOL)
        await waiting
    received = (await late.received())[-1]
    assert received.body == body.replace('"chat"', '"acme/late"', 1).encode()


async def test_a_pool_with_a_limit_is_not_flooded(pair: Pair, late: Simulator) -> None:
    await late.fault(first_token_ms=100)
    at_zero = {"late": scaled(max_concurrent_requests=2)}
    await pair.apply(at_zero, **ONE_POOL)
    async with pair.http() as http:
        waiting = [asyncio.create_task(http.post(CHAT, json=BODY)) for _ in range(10)]
        await pair.waiting(10)
        await pair.apply({"late": scaled(late, max_concurrent_requests=2)}, **ONE_POOL)
        answers = await asyncio.gather(*waiting)
    assert [answer.status_code for answer in answers] == [200] * 10
    spans = [(each.started, each.ended) for each in await late.received()]
    at_once = [sum(s <= start < (e or s) for s, e in spans) for start, _ in spans]
    assert max(at_once) <= 2


async def test_who_waits_for_a_pool_that_goes_is_decided_anew(pair: Pair, other: Simulator) -> None:
    await pair.apply(AT_ZERO, **ONE_POOL)
    async with pair.http() as http:
        waiting = asyncio.create_task(http.post(CHAT, json=BODY))
        await pair.waiting(1)
        await pair.apply({"other": pool(other, model="acme/other")}, chat=route("other"))
        answer = await waiting
    assert answer.status_code == 200
    assert answer.headers["x-mr-pool"] == "other"


async def test_nobody_waits_for_a_pool_that_is_broken(pair: Pair, late: Simulator) -> None:
    await late.fault(health_status=500)
    ready = {"late": scaled(late, model="acme/late")}
    await late.fault()
    await pair.apply(ready, **ONE_POOL)
    await eventually(lambda: _ready(pair, 1))
    await late.fault(health_status=500)
    await eventually(lambda: _ready(pair, 0), within=20)
    async with pair.http() as http:
        answer = await http.post(CHAT, json=BODY)
        error_of(answer, 503, "no_healthy_endpoint")


async def _ready(pair: Pair, number: int) -> bool:
    return (await pair.counts("late")).get("ready") == number


async def test_the_operator_hears_at_once_that_a_pool_is_wanted(own_pair: Pair) -> None:
    pair = own_pair
    await pair.apply(AT_ZERO, **ONE_POOL)
    await eventually(lambda: _ready(pair, 0))
    known = await pair.configz()
    assert known["pools"]["late"] == {"ready": 0, "total": 0, "inFlight": 0, "waiting": 0}
    query = f"after={known['version']}&pools={known['poolsDigest']}&timeout=20"
    asking = asyncio.create_task(ask(pair.admin_port, "GET", f"/configz?{query}"))
    async with pair.http() as http:
        waiting = asyncio.create_task(http.post(CHAT, json=BODY))
        told = await asyncio.wait_for(asking, 10)
        waiting.cancel()
    assert told["pools"]["late"]["waiting"] == 1


async def test_an_agent_that_is_killed_ends_the_waiting(own_pair: Pair, late: Simulator) -> None:
    pair = own_pair
    await pair.apply(AT_ZERO, **ONE_POOL)
    async with pair.http() as http:
        plain = asyncio.create_task(http.post(CHAT, json=BODY))
        streamed = asyncio.create_task(http.post(CHAT, json={**BODY, "stream": True}))
        await pair.waiting(2)
        pair.kill_agent()
        error_of(await plain, 503, "upstream_unreachable")
        assert (await plain).headers["retry-after"] == "1"
        with pytest.raises(httpx.RemoteProtocolError):
            await streamed

        # Without an agent nobody can wait, and nobody is left hanging.
        alone = await http.post(CHAT, json=BODY)
        error_of(alone, 503, "no_healthy_endpoint")
        assert alone.headers["retry-after"] == "1"

        pair.start_agent()
        await eventually(pair.is_asked)
        waiting = asyncio.create_task(http.post(CHAT, json=BODY))
        await pair.waiting(1)
        await pair.apply({"late": scaled(late)}, **ONE_POOL)
        assert (await waiting).status_code == 200


async def test_a_router_that_ends_tells_those_who_wait(own_pair: Pair) -> None:
    pair = own_pair
    await pair.apply(AT_ZERO, **ONE_POOL)
    async with pair.http() as http:
        plain = asyncio.create_task(http.post(CHAT, json=BODY))
        streamed = asyncio.create_task(http.post(CHAT, json={**BODY, "stream": True}))
        await pair.waiting(2)
        pair.terminate_agent()
        error = error_of(await plain, 503, "router_ending")
        assert (await plain).headers["retry-after"] == "1"
        assert event_in((await streamed).text) == error
        content_type = (await plain).headers["content-type"]
        assert error_in(content_type, (await plain).content) == error
