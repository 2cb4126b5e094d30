"""Streams arrive as the server sends them, end when the client leaves, and nothing cuts them."""

from __future__ import annotations

import asyncio
import json
import re
import time
from itertools import pairwise
from typing import Any

import httpx
import openai
import pytest

from component.router.client.answers import CHAT, HELLO, NEVER_EJECTED
from component.router.client.conftest import Serve, Servers
from component.router.rig import Router, eventually, pool, route

STREAM: dict[str, Any] = {"model": "chat", "messages": HELLO, "stream": True}


@pytest.fixture(scope="module")
def router(serve: Serve, servers: Servers) -> Router:
    """Two pools for each request. `chat`: answers in one piece get a second, silences in a stream
    two. `lively` and `hasty`: silences get a second, the first byte as long as is usual or
    less than the silence."""
    return serve(
        pool("first", servers.first, outlierDetection=NEVER_EJECTED),
        pool("second", servers.second),
        route(
            "chat",
            pools=["first", "second"],
            retry={"attempts": 1, "perTryTimeout": "1s"},
            timeout={"request": "1s", "idle": "2s"},
        ),
        route("lively", pools=["first", "second"], timeout={"idle": "1s"}),
        route(
            "hasty",
            pools=["first", "second"],
            retry={"attempts": 1, "perTryTimeout": "500ms"},
            timeout={"idle": "1s"},
        ),
    )


async def arrivals(answer: httpx.Response) -> list[tuple[float, bytes]]:
    """The pieces of a body, as the socket gave them, with their times."""
    return [(time.monotonic(), piece) async for piece in answer.aiter_raw()]


async def test_events_arrive_one_by_one(http: httpx.AsyncClient, servers: Servers) -> None:
    """With the pauses that the server made between them."""
    await servers.first.fault(first_token_ms=150, per_token_ms=150)
    async with http.stream("POST", CHAT, json={**STREAM, "max_tokens": 6}) as answer:
        pieces = await arrivals(answer)

    # The first piece opens the message as well.
    tokens = [at for at, piece in pieces if re.search(rb'"content":"[^"]', piece)]
    assert len(tokens) == 6, "one piece per token"
    gaps = [after - before for before, after in pairwise(tokens)]
    assert all(0.08 < gap < 0.25 for gap in gaps), gaps
    assert pieces[-1][1].endswith(b"data: [DONE]\n\n")


async def test_a_stream_is_the_servers_byte_for_byte(
    http: httpx.AsyncClient, servers: Servers
) -> None:
    request = {**STREAM, "max_tokens": 6, "stream_options": {"include_usage": True}}
    headers = {"x-request-id": "the-same-for-both"}
    through = await http.post(CHAT, json=request, headers=headers)
    async with httpx.AsyncClient(verify=False, trust_env=False) as straight:
        direct = await straight.post(
            servers.first.url + CHAT, json={**request, "model": "acme/first"}, headers=headers
        )

    def events(answer: httpx.Response) -> list[Any]:
        lines = answer.text.removesuffix("data: [DONE]\n\n").split("\n\n")
        return [{**json.loads(line[6:]), "created": 0} for line in lines if line]

    assert events(through) == events(direct)
    assert len(events(through)) > 6


async def test_a_client_that_leaves_ends_the_request_at_the_server(
    http: httpx.AsyncClient, servers: Servers
) -> None:
    """Within a second, and nobody else is asked."""
    await servers.first.fault(per_token_ms=100)
    async with http.stream("POST", CHAT, json=STREAM) as answer:
        async for _ in answer.aiter_raw():
            break
    left = time.time()

    async def ended() -> bool:
        return (await servers.first.received())[0].ended is not None

    await eventually(ended)
    (request,) = await servers.first.received()
    assert request.client_gone
    assert request.ended is not None
    assert request.ended - left < 1
    assert await servers.second.count() == 0


async def test_a_client_that_leaves_before_the_answer(
    http: httpx.AsyncClient, servers: Servers
) -> None:
    """Also without a stream the server stops working for nobody."""
    await servers.first.fault(first_token_ms=5000)
    asking = asyncio.create_task(http.post(CHAT, json={**STREAM, "stream": False}))
    await eventually(servers.first.count)
    asking.cancel()
    await asyncio.wait([asking])
    left = time.time()

    async def ended() -> bool:
        return (await servers.first.received())[0].ended is not None

    await eventually(ended)
    (request,) = await servers.first.received()
    assert request.client_gone
    assert request.ended is not None
    assert request.ended - left < 1
    assert await servers.second.count() == 0


async def test_long_silences_do_not_end_a_stream(
    client: openai.AsyncOpenAI, servers: Servers
) -> None:
    """Tokens come every 1.5 seconds: longer than an attempt has for its first event, and, all
    together, longer than an answer that is not streamed may take."""
    await servers.first.fault(first_token_ms=300, per_token_ms=1500)
    started = time.monotonic()
    stream = await client.chat.completions.create(
        model="chat", messages=HELLO, stream=True, max_tokens=3
    )
    chunks = [chunk async for chunk in stream]
    assert time.monotonic() - started > 2.9
    assert chunks[-1].choices[0].finish_reason == "length"
    assert await servers.second.count() == 0


async def silent(http: httpx.AsyncClient, servers: Servers, model: str) -> float:
    """Seconds until a client learns that its stream has stopped after two tokens."""
    await servers.first.fault(mode="stall_stream", after_tokens=2)
    started = time.monotonic()
    # The client sees a broken stream, not one that seems complete.
    with pytest.raises(httpx.RemoteProtocolError):
        await http.post(CHAT, json={**STREAM, "model": model}, timeout=5)
    # Nothing comes twice.
    assert (await servers.first.count(), await servers.second.count()) == (1, 0)
    return time.monotonic() - started


async def test_a_silence_beyond_the_limit_ends_a_stream(
    http: httpx.AsyncClient, servers: Servers
) -> None:
    assert 0.9 < await silent(http, servers, "lively") < 3


async def test_a_silence_ends_a_stream_also_when_it_begins_early(
    http: httpx.AsyncClient, servers: Servers
) -> None:
    """Before the time has passed that the attempt had for its first byte."""
    assert 0.9 < await silent(http, servers, "hasty") < 5


@pytest.mark.parametrize("after", [2, 5])
async def test_nothing_is_tried_again_after_the_first_event(
    http: httpx.AsyncClient, servers: Servers, after: int
) -> None:
    """A stream that the server cuts is cut for the client too."""
    # The pauses let the first event through before the end is there.
    await servers.first.fault(mode="cut_stream", after_tokens=after, per_token_ms=50)
    pieces: list[bytes] = []

    async def read() -> None:
        async with http.stream("POST", CHAT, json=STREAM) as answer:
            assert answer.status_code == 200
            assert answer.headers["x-mr-pool"] == "first"
            async for piece in answer.aiter_raw():
                pieces.append(piece)

    with pytest.raises(httpx.RemoteProtocolError):
        await read()
    seen = b"".join(pieces)
    assert seen.count(b'"content":"') >= after
    assert b"[DONE]" not in seen
    assert (await servers.first.count(), await servers.second.count()) == (1, 0)


async def test_an_error_within_a_stream_is_passed_on(
    client: openai.AsyncOpenAI, servers: Servers
) -> None:
    """A server that fails after its first token says so in an event, which the official client
    raises."""
    await servers.first.fault(mode="stream_error", after_tokens=1)
    raw = await client.chat.completions.with_raw_response.create(
        model="chat", messages=HELLO, stream=True
    )
    assert raw.headers["x-mr-pool"] == "first", raw.headers
    stream = raw.parse()
    with pytest.raises(openai.APIError):
        async for _ in stream:
            pass
    assert await servers.second.count() == 0


UNBEGUN: dict[str, dict[str, Any]] = {
    "503": {"fail_status": 503},
    "reset": {"mode": "reset"},
    "200 and then an error": {"mode": "stream_error"},
    "200 and then nothing": {"first_token_ms": 5000},
}


@pytest.mark.parametrize("fault", UNBEGUN.values(), ids=UNBEGUN)
async def test_a_stream_that_has_not_begun_is_tried_elsewhere(
    client: openai.AsyncOpenAI, servers: Servers, fault: dict[str, Any]
) -> None:
    await servers.first.fault(**fault)
    stream = await client.chat.completions.create(model="chat", messages=HELLO, stream=True)
    chunks = [chunk async for chunk in stream]
    assert {chunk.model for chunk in chunks} == {"acme/second"}


async def test_an_answer_in_one_piece_has_its_limit(
    http: httpx.AsyncClient, servers: Servers
) -> None:
    """The first pool used up the second that the whole request has."""
    await servers.first.fault(first_token_ms=5000)
    await servers.second.fault(first_token_ms=5000)
    started = time.monotonic()
    answer = await http.post(CHAT, json={**STREAM, "stream": False})
    assert 0.8 < time.monotonic() - started < 2
    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "timeout"
