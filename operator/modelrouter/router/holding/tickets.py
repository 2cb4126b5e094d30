"""What decisions tell the holding proxy, in headers that only agent and Envoy exchange."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

HOLD_HEADER = "x-mr-hold"
"""From the decision, through Envoy, to the holding proxy. Envoy drops a client's."""

HELD_HEADER = "x-mr-held"
"""With a question about a request that has waited already; set by Envoy, by where it came in."""

AGAIN_HEADER = "x-mr-again"
"""On the answer to a request that may not go on yet: its pool is full, or is cold again. The value
is the code of the error."""


class Service(StrEnum):
    """What the holding proxy does for a request."""

    WAIT = "plain"
    """It waits for its pool."""
    WAIT_IN_STREAM = "stream"
    """It waits for its pool, and the client, who asked for a stream of events, is told so."""
    GUARD = "guard"
    """It does not wait, but its stream is watched, and ends in an error event if it breaks."""


class Ticket(NamedTuple):
    """For which pool a request is held, and why."""

    pool: str
    service: Service

    @property
    def text(self) -> str:
        """As the header's value."""
        return f"{self.service} {self.pool}"


def read_ticket(text: str) -> Ticket:
    """The ticket of a header's value."""
    service, _, pool = text.partition(" ")
    return Ticket(pool, Service(service))
