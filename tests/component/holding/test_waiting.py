"""Requests for a pool at zero wait until its first endpoint is ready, and are served then."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from component.holding.rig import CHAT, HELLO, Pair, pool, route, scaled
from component.router.client.answers import error_of
from component.router.processes import eventually
from component.router.simulators import Simulator

AT_ZERO = {"late": scaled()}
ONE_POOL = {"chat": route("late")}


async def test_a_hundred_first_requests_are_all_answered(pair: Pair, late: Simulator) -> None:
    await pair.apply(AT_ZERO, **ONE_POOL)
    served = await pair.metric("modelrouter_requests_total", pool="late")
    tokens = await pair.metric("modelrouter_tokens_total", pool="late")
    used: list[int] = []
    async with pair.client() as client:

        async def plain(number: int) -> str:
            answer = await client.chat.completions.create(
                model="chat", messages=HELLO, extra_headers={"x-request-id": f"plain-{number}"}
            )
            assert answer.usage is not None
            used.append(answer.usage.total_tokens)
            return answer.choices[0].message.content or ""

        async def streamed(number: int) -> str:
            stream = await client.chat.completions.create(
                model="chat", messages=HELLO, stream=True, stream_options={"include_usage": True}
            )
            chunks = [chunk async for chunk in stream]
            assert chunks[-1].usage is not None
            used.append(chunks[-1].usage.total_tokens)
            return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)

        requests = [asyncio.create_task(plain(n) if n % 2 else streamed(n)) for n in range(100)]
        await pair.waiting(100)
        counts = await pair.counts("late")
        assert {**counts, "waiting": counts["waiting"] > 0} == {
            "ready": 0, "total": 0, "inFlight": 0, "waiting": True,
        }  # fmt: skip
        await pair.apply({"late": scaled(late)}, **ONE_POOL)
        answers = await asyncio.gather(*requests)

    assert all(answers)
    assert await late.count() == 100
    received = await late.received()
    assert {request.json["model"] for request in received} == {"acme/late"}

    async def counted() -> bool:
        return await pair.metric("modelrouter_requests_total", pool="late") == served + 100

    await eventually(counted)
    assert await pair.metric("modelrouter_pool_waiting", pool="late") == 0
    assert await pair.metric("modelrouter_tokens_total", pool="late") == tokens + sum(used)


async def test_one_that_has_waited_is_as_any_other(pair: Pair, late: Simulator) -> None:
    body = json.dumps(
        {"messages": HELLO, "model": "chat", "max_tokens": 5, "seed": 12345678901234567890}
    )
    headers = {
        "content-type": "application/json",
        "authorization": "Bearer caller-key",
        "x-session-id": "s",
        "x-mr-held": "1",
        "x-mr-hold": "plain other",
        "x-mr-plan": "hold",
        "x-odd": b"caf\xe9",
    }

    async def send(request_id: str) -> httpx.Response:
        async with pair.http() as http:
            return await http.post(
                CHAT + "?a=%2F&b=1", content=body, headers={**headers, "x-request-id": request_id}
            )

    await pair.apply(AT_ZERO, **ONE_POOL)
    waiting = asyncio.create_task(send("waited"))
    await pair.waiting(1)
    await pair.apply({"late": scaled(late)}, **ONE_POOL)
    waited, direct = await waiting, await send("direct")

    assert waited.status_code == direct.status_code == 200
    assert waited.headers["x-mr-reason"] == "rule:default; late cold"
    assert direct.headers["x-mr-reason"] == "rule:default"
    names = [name.lower() for name, _ in waited.headers.raw]
    assert len(names) == len(set(names)), names
    assert set(waited.headers) == set(direct.headers)
    for name in ("x-mr-route", "x-mr-pool", "x-mr-attempts", "content-type", "content-length"):
        assert waited.headers[name] == direct.headers[name], name
    assert waited.headers["x-request-id"] == "waited"

    after_wait, at_once = await late.received()
    assert after_wait.body == at_once.body
    assert after_wait.path == at_once.path
    assert after_wait.header("x-odd") == at_once.header("x-odd")
    assert after_wait.names == at_once.names
    assert not [name for name in after_wait.names if name.startswith(("x-mr", "x-envoy"))]
    assert after_wait.header("authorization") is None


async def test_a_stream_begins_at_once_and_comes_chunk_by_chunk(
    pair: Pair, late: Simulator
) -> None:
    await late.fault(first_token_ms=0, per_token_ms=300)
    await pair.apply(AT_ZERO, **ONE_POOL)
    body = {"model": "chat", "messages": HELLO, "stream": True, "max_tokens": 4}
    arrivals: list[tuple[float, bytes]] = []
    name = "modelrouter_time_to_first_byte_seconds_bucket"
    quick = await pair.metric(name, pool="late", le="0.01")
    began = await pair.metric(name, pool="late", le="+Inf")
    clock = asyncio.get_running_loop().time
    async with pair.http() as http, http.stream("POST", CHAT, json=body) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-mr-pool"] == "late"
        chunks = answer.aiter_raw()
        assert await anext(chunks) == b": waiting\n\n"
        await pair.apply({"late": scaled(late)}, **ONE_POOL)
        async for chunk in chunks:
            arrivals.append((clock(), chunk))
    whole = b"".join(chunk for _, chunk in arrivals)
    assert whole.endswith(b"data: [DONE]\n\n")
    assert whole.startswith(b"data: {")
    assert await pair.metric("modelrouter_pool_waiting", pool="late") == 0

    async def counted() -> bool:
        at_once = await pair.metric(name, pool="late", le="0.01")
        every = await pair.metric(name, pool="late", le="+Inf")
        return every > began and at_once == quick

    # Its first byte is that of the answer: not that of the comment.
    await eventually(counted)
    # Four tokens with 0.3 s before each of the last three.
    assert arrivals[-1][0] - arrivals[0][0] > 0.6


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/embeddings"])
async def test_other_endpoints_wait_alike(pair: Pair, late: Simulator, path: str) -> None:
    await pair.apply(AT_ZERO, **ONE_POOL)
    body: dict[str, Any] = {"model": "chat", "stream": path == "/v1/embeddings"}
    body["input" if path == "/v1/embeddings" else "prompt"] = "Hello"
    async with pair.http() as http:
        waiting = asyncio.create_task(http.post(path, json=body))
        await pair.waiting(1)
        await pair.apply({"late": scaled(late)}, **ONE_POOL)
        answer = await waiting
    received = (await late.received())[-1]
    assert received.path == path
    assert answer.headers["content-type"].startswith("application/json")


async def test_at_the_bound_requests_are_refused_at_once(pair: Pair, late: Simulator) -> None:
    await pair.apply({"late": scaled(max_waiting=3)}, **ONE_POOL)
    body = {"model": "chat", "messages": HELLO}
    async with pair.http() as http:
        waiting = [asyncio.create_task(http.post(CHAT, json=body)) for _ in range(3)]
        await pair.waiting(3)
        for stream in (False, True):
            refused = await http.post(CHAT, json={**body, "stream": stream})
            error_of(refused, 503, "cold_start_full")
            assert refused.headers["retry-after"] == "10"
        assert await pair.metric("modelrouter_refusals_total", error="cold_start_full") == 2
        await pair.apply({"late": scaled(late, max_waiting=3)}, **ONE_POOL)
        assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [200] * 3


async def test_of_a_burst_no_more_than_may_wait_do(pair: Pair, late: Simulator) -> None:
    await pair.apply({"late": scaled(max_waiting=10)}, **ONE_POOL)
    body = {"model": "chat", "messages": HELLO}
    async with pair.http(limits=httpx.Limits(max_connections=None)) as http:
        burst = [asyncio.create_task(http.post(CHAT, json=body)) for _ in range(60)]
        await pair.waiting(10)
        await eventually(lambda: sum(each.done() for each in burst) == 50)
        await pair.apply({"late": scaled(late, max_waiting=10)}, **ONE_POOL)
        answers = await asyncio.gather(*burst)
    refused = [answer for answer in answers if answer.status_code != 200]
    assert len(refused) == 50
    for answer in refused:
        error_of(answer, 503, "cold_start_full")
        assert answer.headers["retry-after"] == "10"


async def test_waiting_ends_in_time(pair: Pair) -> None:
    await pair.apply({"late": scaled(wait_timeout_ms=700)}, **ONE_POOL)
    before = await pair.metric("modelrouter_requests_total", pool="late", code="503")
    body = {"model": "chat", "messages": HELLO}
    async with pair.http() as http:
        plain, streamed = await asyncio.gather(
            http.post(CHAT, json=body), http.post(CHAT, json={**body, "stream": True})
        )
    error = error_of(plain, 503, "cold_start_timeout")
    assert plain.headers["retry-after"] == "10"
    assert streamed.status_code == 200
    comment, event, done = streamed.text.split("\n\n")[:3]
    assert comment == ": waiting"
    assert json.loads(event.removeprefix("data: ")) == {"error": error}
    assert done == "data: [DONE]"

    async def counted() -> bool:
        now = await pair.metric("modelrouter_requests_total", pool="late", code="503")
        return now == before + 2

    await eventually(counted)
    assert await pair.metric("modelrouter_waited_requests_total", result="timeout") == 2
    assert await pair.metric("modelrouter_refusals_total", error="cold_start_timeout") == 2


async def test_a_client_that_goes_away_makes_room(pair: Pair, late: Simulator) -> None:
    await pair.apply({"late": scaled(max_waiting=2)}, **ONE_POOL)
    body = {"model": "chat", "messages": HELLO}
    async with pair.http() as http:
        for stream in (False, True):
            leaving = asyncio.create_task(http.post(CHAT, json={**body, "stream": stream}))
            await pair.waiting(1)
            leaving.cancel()
            await pair.waiting(0)
        waiting = [asyncio.create_task(http.post(CHAT, json=body)) for _ in range(2)]
        await pair.waiting(2)
        await pair.apply({"late": scaled(late, max_waiting=2)}, **ONE_POOL)
        assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [200] * 2
    # Nobody sends what nobody waits for.
    assert await late.count() == 2


async def test_with_failover_another_pool_serves_and_the_first_is_wanted(
    pair: Pair, late: Simulator, other: Simulator
) -> None:
    pools = {
        "late": scaled(on_cold_start="Failover"),
        "other": pool(other, model="acme/other"),
    }
    await pair.apply(pools, chat=route("late", "other"))
    await eventually(lambda: _ready(pair, "other"))
    async with pair.http() as http:
        answer = await http.post(CHAT, json={"model": "chat", "messages": HELLO})
        assert answer.status_code == 200
        assert answer.headers["x-mr-pool"] == "other"
        assert answer.headers["x-mr-reason"] == "rule:default; failover, late cold"
        assert (await pair.counts("late"))["waiting"] == 1
        assert "waiting" not in await pair.counts("other")
        assert await pair.metric("modelrouter_pool_waiting", pool="late") == 0
        await pair.apply(
            {**pools, "late": scaled(late, on_cold_start="Failover")}, chat=route("late", "other")
        )
        await eventually(lambda: _ready(pair, "late"))
        answer = await http.post(CHAT, json={"model": "chat", "messages": HELLO})
        assert answer.headers["x-mr-pool"] == "late"


async def _ready(pair: Pair, name: str) -> bool:
    return (await pair.counts(name)).get("ready", 0) > 0
