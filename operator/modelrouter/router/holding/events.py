"""Server-sent events that a client gets while it waits, or in place of an answer.

https://html.spec.whatwg.org/multipage/server-sent-events.html: a line that begins with a colon is a
comment, which clients pass over.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson

WAITING = b": waiting\n\n"
"""Keeps a connection alive."""

_EVENT_ENDS = (b"\n\n", b"\r\n\r\n")
DONE = b"data: [DONE]\n\n"


def is_event_stream(content_type: str) -> bool:
    """Whether an answer is a stream of events."""
    return content_type.lower().startswith("text/event-stream")


async def whole_events(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The stream's events as they come; of one that is not complete nothing.

    What breaks off in the middle of an event would spoil the event that tells so. What stands
    behind the last event comes at the end of the stream.
    """
    rest = b""
    async for part in parts:
        rest += part
        if end := _end_of_events(rest):
            yield rest[:end]
            rest = rest[end:]
    if rest:
        yield rest


def _end_of_events(text: bytes) -> int:
    ends = (at + len(mark) for mark in _EVENT_ENDS if (at := text.rfind(mark)) >= 0)
    return max(ends, default=0)


def error_event(status: int, body: bytes) -> bytes:
    """The event that tells of an error, shaped as vLLM does it, and the end of the stream.

    `body` is the answer that a client would have got instead of a stream.
    """
    return b"data: " + orjson.dumps({"error": _error_in(status, body)}) + b"\n\n" + DONE


def _error_in(status: int, body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    if isinstance(found, dict):
        error = found.get("error", found)
        if isinstance(error, dict) and isinstance(error.get("message"), str):
            return error
    if status < 400:
        message = "The model was asked for a stream and answered without one."
    else:
        message = f"The model answered with status {status}."
    return {"message": message, "type": "server_error", "param": None, "code": status}
