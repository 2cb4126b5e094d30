"""What a client saw of one request."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How a request ended."""

    RIGHT = "right"
    """With the whole answer, every token of it as it must be."""
    REFUSED = "refused"
    """With an error answer."""
    LOST = "lost"
    """The connection ended before an answer began."""
    BROKEN = "broken"
    """The connection ended within the answer."""
    ERROR_EVENT = "error event"
    """A stream that said itself that it failed."""
    WRONG = "wrong"
    """An answer that seems complete and is not what it must be."""
    HUNG = "hung"
    """Nothing came for too long."""


@dataclass(slots=True)
class Sample:
    """One request. Moments are seconds since 1970."""

    id: str
    """Its `x-request-id`."""
    streamed: bool
    sent: float
    first: float = 0.0
    """When the first token, or the whole answer, was there."""
    ended: float = 0.0
    outcome: Outcome = Outcome.LOST
    problem: str = ""
    pool: str = ""
    """That answered, as the router says."""
    attempts: str = ""
    tokens: int = 0
    """That were received and right."""
    silence: float = 0.0
    """Seconds of the longest pause within the stream, after its first token."""
    reconnects: int = 0
    """How often no connection could be made, which a client may always try again."""
    guarded: bool = False
    """Whether an error event has to tell that its server was killed."""
    official: bool = False
    """Whether OpenAI's own client asked."""
