"""Streams that begin with an error count as what the error says, not as 200."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from component.envoy.backends import Behaviour, Connection, Request
from component.envoy.configuration import pool, route
from component.envoy.rig import Answer, Rig
from modelrouter.router.envoy import first_event
from modelrouter.router.envoy.scripts import hold_script

ERROR = {"error": {"message": 'said "code": 404', "type": "InternalServerError", "code": 500}}
DEAD = f"data: {json.dumps(ERROR)}\n\n"
DONE = "data: [DONE]\n\n"
GOOD = tuple(f'data: {{"n":{n}}}\n\n' for n in range(3))


def sse(*chunks: str, head_gap: float = 0.0, gap: float = 0.0) -> Behaviour:
    """A stream of these chunks, with pauses after its headers and between them."""

    async def behave(connection: Connection, request: Request) -> None:
        kind = "text/event-stream; charset=utf-8"
        connection.start(200, {"content-type": kind, "transfer-encoding": "chunked"})
        for n, chunk in enumerate(chunks):
            await asyncio.sleep(gap if n else head_gap)
            connection.transport.write(f"{len(chunk):x}\r\n{chunk}\r\n".encode())
        connection.transport.write(b"0\r\n\r\n")

    return behave


def ask(rig: Rig, **headers: str) -> Answer:
    return rig.request(body={"model": "m", "messages": [], "stream": True}, **headers)


# The call that holds the headers takes some 50 µs: chunks come before, during and after it.
@pytest.mark.parametrize("head_gap", [0.0, 0.00005, 0.0002, 0.02])
@pytest.mark.parametrize("gap", [0.0, 0.02])
def test_the_next_pool_takes_over(rig: Rig, head_gap: float, gap: float) -> None:
    a = rig.backend("a", sse(DEAD, DONE, head_gap=head_gap, gap=gap))
    b = rig.backend("b", sse(*GOOD, DONE, head_gap=head_gap, gap=gap))
    rig.apply({"a": pool(a), "b": pool(b)}, {"r": route("a", "b", models=["m"])})
    name = f"first-{head_gap}-{gap}"
    answer = ask(rig, x_request_id=name)
    assert (answer.status, answer.headers["x-mr-pool"]) == (200, "b")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.body.decode() == "".join(GOOD) + DONE
    record = rig.record(name)
    assert (record.pool, record.attempts, record.failed_streams) == ("b", 2, ("a",))


def test_the_time_to_the_first_byte_is_that_to_the_first_event(rig: Rig) -> None:
    a = rig.backend("a", sse(*GOOD, DONE, head_gap=0.2, gap=0.1))
    rig.apply({"a": pool(a)}, {"r": route("a", models=["m"])})
    ask(rig, x_request_id="timed")
    record = rig.record("timed")
    assert record.first_byte_ms is not None
    assert 190 < record.first_byte_ms < record.duration_ms - 250


def test_every_attempt_is_looked_at(rig: Rig) -> None:
    first, second = (rig.backend(name, sse(DEAD, DONE)) for name in ("first", "second"))
    third = rig.backend("third", sse(*GOOD, DONE))
    pools = {"a": pool(first), "b": pool(second), "c": pool(third)}
    rig.apply(pools, {"r": route("a", "b", "c", models=["m"])})
    assert ask(rig, x_request_id="thrice").body.decode() == "".join(GOOD) + DONE
    assert rig.record("thrice").failed_streams == ("a", "b")


def test_what_a_client_gets_when_nothing_is_left(rig: Rig) -> None:
    """The error with its status, in the shape of an answer that is not streamed."""
    a = rig.backend("a", sse(DEAD, DONE, gap=0.02))
    rig.apply({"a": pool(a)}, {"r": route("a", models=["m"])})
    answer = ask(rig)
    assert (answer.status, answer.json) == (500, ERROR)
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("code", [400, 404, 429])
def test_an_error_that_is_not_the_endpoints_fault(rig: Rig, code: int) -> None:
    error = {"error": {"message": "no", "type": "BadRequestError", "code": code}}
    a = rig.backend("a", sse(f"data: {json.dumps(error)}\n\n", DONE))
    b = rig.backend("b", sse(*GOOD, DONE))
    rig.apply({"a": pool(a), "b": pool(b)}, {"r": route("a", "b", models=["m"])})
    for _ in range(5):
        answer = ask(rig)
        assert answer.headers["x-mr-attempts"] == ("2" if code == 429 else "1")
        assert code == 429 or (answer.status, answer.json) == (code, error)
    assert len(a.requests) == 5, "it is not ejected"


def test_the_endpoint_is_ejected(rig: Rig) -> None:
    bad = rig.backend("bad", sse(DEAD, DONE))
    good = rig.backend("good", sse(*GOOD, DONE))
    triggers = {"attempts_per_pool": 2, "triggers": ["5xx"]}
    rig.apply({"a": pool(bad, good)}, {"r": route("a", models=["m"], retry=triggers)})
    for _ in range(40):
        assert ask(rig).status == 200
    # Three errors in a row are allowed.
    assert len(bad.requests) == 3


def test_a_good_answer_makes_earlier_errors_forgotten(rig: Rig) -> None:
    a, b = rig.backend("a"), rig.backend("b", sse(*GOOD, DONE))
    rig.apply({"a": pool(a), "b": pool(b)}, {"r": route("a", "b", models=["m"])})
    for _ in range(5):
        for behaviour in (sse(DEAD, DONE), sse(DEAD, DONE), sse(*GOOD, DONE)):
            a.behaviour = behaviour
            assert ask(rig).status == 200
    assert len(a.requests) == 15


@pytest.mark.parametrize(
    "chunks", [(), (": keep-alive\n\n", DEAD), ("data: [DONE]\n\n",), (GOOD[0], DEAD)]
)
@pytest.mark.parametrize("head_gap", [0.0, 0.00005, 0.02])
def test_other_streams_pass_as_they_are(rig: Rig, chunks: tuple[str, ...], head_gap: float) -> None:
    a = rig.backend("a", sse(*chunks, head_gap=head_gap))
    rig.apply({"a": pool(a)}, {"r": route("a", models=["m"])})
    answer = ask(rig)
    assert (answer.status, answer.body.decode()) == (200, "".join(chunks))
    assert "lua" not in rig.log


def test_a_script_that_fails_is_told_and_costs_no_request(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scripts end by failing, too; that is not told."""
    broken = hold_script().replace("local headers = h:headers()", 'error("what is wrong")', 1)
    monkeypatch.setattr(first_event, "hold_script", lambda: broken)
    a = rig.backend("a", sse(*GOOD, DONE))
    rig.apply({"a": pool(a)}, {"r": route("a", models=["m"])})
    answer = ask(rig)
    assert (answer.status, answer.body.decode()) == (200, "".join(GOOD) + DONE)
    (line,) = rig.until(lambda: [line for line in rig.log.splitlines() if "[lua]" in line])
    assert "[critical]" in line
    assert line.endswith("what is wrong")


@pytest.mark.parametrize(
    ("options", "forgotten"), [({}, 2), ({"stream_options": {"include_usage": True}}, 1)]
)
def test_scripts_are_forgotten_with_the_first_event(
    rig: Rig, options: dict[str, Any], forgotten: int
) -> None:
    """All but the one that reads the tokens used: Envoy would run it again for every event."""
    a = rig.backend("a", sse(*GOOD, DONE))
    rig.apply({"a": pool(a)}, {"r": route("a", models=["m"])})
    before = rig.stat("cluster.a.lua.streams.errors")
    answer = rig.request(body={"model": "m", "messages": [], "stream": True, **options})
    assert (answer.status, answer.body.decode()) == (200, "".join(GOOD) + DONE)
    assert rig.stat("cluster.a.lua.streams.errors") - before == forgotten


def test_a_first_event_that_never_comes(rig: Rig) -> None:
    """vLLM sends the headers at once; with its engine hung nothing follows them."""
    a = rig.backend("a", sse(*GOOD, head_gap=30))
    b = rig.backend("b", sse(*GOOD, DONE))
    quick = {"attempts_per_pool": 1, "triggers": ["5xx"], "per_try_timeout_ms": 300}
    rig.apply({"a": pool(a), "b": pool(b)}, {"r": route("a", "b", models=["m"], retry=quick)})
    answer = ask(rig)
    assert (answer.status, answer.headers["x-mr-pool"]) == (200, "b")


def test_large_first_events(rig: Rig) -> None:
    """An event of several reads: also of an error all of it arrives."""
    error = {"error": {"message": "x" * 200_000, "type": "InternalServerError", "code": 500}}
    a = rig.backend("a", sse(f"data: {json.dumps(error)}\n\n", DONE))
    rig.apply({"a": pool(a)}, {"r": route("a", models=["m"])})
    answer = ask(rig)
    assert (answer.status, answer.json) == (500, error)
    a.behaviour = sse("data: " + "y" * 200_000 + "\n\n", DONE)
    assert len(ask(rig).body) == 200_000 + 8 + len(DONE)
