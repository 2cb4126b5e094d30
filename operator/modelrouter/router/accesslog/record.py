"""One finished request."""

from __future__ import annotations

from typing import NamedTuple


class RequestRecord(NamedTuple):
    """What became of one request. Empty and None mean that Envoy did not say. A named tuple,
    because it is made once per request."""

    request_id: str
    route: str
    reason: str
    pool: str
    """The pool that answered, or that was tried last."""
    attempts: int
    status: int
    """0 when the client left before there was an answer."""
    duration_ms: float
    first_byte_ms: float | None
    """From the first byte of the request to the first one of the answer to the client."""
    prompt_tokens: int | None
    completion_tokens: int | None
    failed_streams: tuple[str, ...] = ()
    """The pools of the attempts whose streams began with an error."""
    flags: str = ""
    """Envoy's response flags, separated by commas; empty if there was nothing to say."""
    streamed: bool = False
    """Whether the answer was a stream of events."""
