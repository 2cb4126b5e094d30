"""Errors as events of a stream."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from modelrouter.router.holding.events import error_event, is_event_stream, whole_events

OPENAI = {"message": "no", "type": "server_error", "param": None, "code": "x"}


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (500, {"error": OPENAI}, OPENAI),
        (400, {"object": "error", **OPENAI}, {"object": "error", **OPENAI}),
        (500, "Internal Server Error",
         {"message": "The model answered with status 500.", "type": "server_error",
          "param": None, "code": 500}),
        (200, {"choices": []},
         {"message": "The model was asked for a stream and answered without one.",
          "type": "server_error", "param": None, "code": 200}),
    ],
)  # fmt: skip
def test_an_error_keeps_its_words(status: int, body: object, error: object) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    event, done, rest = error_event(status, text.encode()).split(b"\n\n")
    assert json.loads(event.removeprefix(b"data: ")) == {"error": error}
    assert (done, rest) == (b"data: [DONE]", b"")


def test_what_a_stream_is() -> None:
    assert is_event_stream("text/event-stream; charset=utf-8")
    assert not is_event_stream("application/json")


@pytest.mark.parametrize(
    ("parts", "events"),
    [
        ([b"data: 1\n\n"], [b"data: 1\n\n"]),
        ([b"da", b"ta: 1\n", b"\ndata: 2\n\n"], [b"data: 1\n\ndata: 2\n\n"]),
        ([b"data: 1\n\ndata: 2\n", b"\n"], [b"data: 1\n\n", b"data: 2\n\n"]),
        ([b"data: 1\r\n\r\ndata: 2\r\n", b"\r\n"], [b"data: 1\r\n\r\n", b"data: 2\r\n\r\n"]),
        ([b"data: 1\n\ndata: [DONE]"], [b"data: 1\n\n", b"data: [DONE]"]),
        ([], []),
    ],
)
async def test_events_are_passed_on_whole(parts: list[bytes], events: list[bytes]) -> None:
    async def stream() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    assert [event async for event in whole_events(stream())] == events
