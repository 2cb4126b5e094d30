"""Streams pass chunk by chunk, and end when either side leaves."""

from __future__ import annotations

import asyncio
import json
import time

from component.envoy.backends import Behaviour, Connection, Request, served_by
from component.envoy.configuration import pool, route
from component.envoy.rig import CHAT, Rig

USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":9}}\n\n'


def events(*gaps: float, end: bool = True) -> Behaviour:
    """A stream with these pauses between its events."""

    async def behave(connection: Connection, request: Request) -> None:
        connection.start(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
        for n, gap in enumerate(gaps):
            await asyncio.sleep(gap)
            event = b'data: {"n":%d}\n\n' % n
            connection.transport.write(b"%x\r\n%s\r\n" % (len(event), event))
        if end:
            event = USAGE + b"data: [DONE]\n\n"
            connection.transport.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(event), event))
        else:
            connection.transport.abort()

    return behave


def stream(rig: Rig, read_until: bytes, request_id: str = "s") -> tuple[bytes, list[float]]:
    """Ask for a stream and read to the mark; also when each piece came."""
    options = {"include_usage": True}
    body = json.dumps({"model": "m", "stream": True, "stream_options": options}).encode()
    with rig.connect() as connection:
        connection.sendall(
            f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nx-request-id: {request_id}\r\n"
            f"content-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        got, times = b"", []
        while read_until not in got and (data := connection.recv(65536)):
            got += data
            times.append(time.monotonic())
    return got, times


def test_events_come_as_they_are_sent(rig: Rig) -> None:
    a = rig.backend("a", events(0, 0.2, 0.2, 0.2))
    rig.apply({"a": pool(a)}, {"r": route("a", models=["m"])})
    got, times = stream(rig, b"[DONE]")
    assert got.count(b"data: ") == 6
    assert times[-1] - times[0] > 0.5
    assert b"x-mr-pool: a" in got


def test_a_client_that_leaves(rig: Rig) -> None:
    a = rig.backend("a", events(*[0.05] * 200))
    rig.apply({"a": pool(a)}, {"r": route("a", models=["m"])})
    stream(rig, b'"n":3')
    rig.until(lambda: not a.connections or None, timeout=2)


def test_a_stream_that_breaks_off_is_not_started_again(rig: Rig) -> None:
    a, b = rig.backend("a", events(0, 0.05, end=False)), rig.backend("b")
    rig.apply({"a": pool(a), "b": pool(b)}, {"r": route("a", "b", models=["m"])})
    got, _ = stream(rig, b"never")
    assert b'"n":1' in got
    assert b"0\r\n\r\n" not in got[-5:]
    assert not b.requests


def test_a_stream_that_stalls_is_ended(rig: Rig) -> None:
    a = rig.backend("a", events(0, 30))
    rig.apply({"a": pool(a)}, {"r": route("a", models=["m"], idle_timeout_ms=300)})
    started = time.monotonic()
    stream(rig, b"never")
    assert time.monotonic() - started < 5


def test_a_stream_that_stalls_on_an_unplanned_chain(rig: Rig) -> None:
    a = rig.backend("a", events(0, 30))
    rig.apply({"a": pool(a)}, {"r": route("a", models=["m"], idle_timeout_ms=300)})
    rig.known = set()
    started = time.monotonic()
    stream(rig, b"never")
    assert time.monotonic() - started < 5


def test_a_plain_answer_may_be_silent_longer_than_a_stream(rig: Rig) -> None:
    async def late(connection: Connection, request: Request) -> None:
        await asyncio.sleep(0.8)
        connection.answer()

    a = rig.backend("a", late)
    rig.apply({"a": pool(a)}, {"r": route("a", models=["m"], idle_timeout_ms=200)})
    assert rig.chat().status == 200


def test_the_access_log(rig: Rig) -> None:
    a = rig.backend("a", events(0, 0.1))
    rig.apply({"a": pool(a)}, {"r": route("a", models=["m"])})
    stream(rig, b"[DONE]", "logged-1")
    record = rig.record("logged-1")
    assert (record.route, record.pool, record.reason) == ("r", "a", "rule:default")
    assert (record.attempts, record.status) == (1, 200)
    assert record.duration_ms > 90
    assert record.first_byte_ms is not None
    assert record.first_byte_ms < record.duration_ms
    assert (record.prompt_tokens, record.completion_tokens) == (7, 9)
    a.behaviour = served_by("a")
    rig.chat(x_request_id="logged-2")
    assert rig.record("logged-2").prompt_tokens == 3


def test_the_tokens_of_a_stream_on_an_unplanned_chain(rig: Rig) -> None:
    a = rig.backend("a", events(0, 0.05))
    rig.apply({"a": pool(a)}, {"r": route("a", models=["m"])})
    rig.known = set()
    stream(rig, b"[DONE]", "unplanned-1")
    record = rig.record("unplanned-1")
    assert (record.prompt_tokens, record.completion_tokens) == (7, 9)


def test_the_tokens_of_an_answer_that_should_have_been_a_stream(rig: Rig) -> None:
    rig.apply({"a": pool(rig.backend("a"))}, {"r": route("a", models=["m"])})
    rig.request(body={"model": "m", "messages": [], "stream": True}, x_request_id="whole-1")
    assert rig.record("whole-1").prompt_tokens == 3


def test_usage_at_the_end_of_a_long_answer(rig: Rig) -> None:
    text = "x" * 100_000 + ' \\"usage\\": {\\"prompt_tokens\\": 99}'
    usage = '{"completion_tokens": 12, "prompt_tokens" : 34, "details": {"cached_tokens": 5}}'
    body = f'{{"choices":["{text}"],"usage":{usage},"fingerprint":null}}'.encode()
    a = rig.backend("a", lambda connection, request: connection.answer(body=body))
    rig.apply({"a": pool(a)}, {"r": route("a", models=["m"])})
    assert rig.chat(x_request_id="long-1").body == body
    record = rig.record("long-1")
    assert (record.prompt_tokens, record.completion_tokens) == (34, 12)
