"""Errors as events of a stream."""

from __future__ import annotations

import json

import pytest

from modelrouter.router.holding.events import error_event, is_event_stream

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
