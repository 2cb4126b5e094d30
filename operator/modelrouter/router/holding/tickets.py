"""What decisions tell the holding proxy, in headers that only agent and Envoy exchange."""

from __future__ import annotations

from typing import NamedTuple

HOLD_HEADER = "x-mr-hold"
"""From the decision, through Envoy, to the holding proxy. Envoy drops a client's."""

HELD_HEADER = "x-mr-held"
"""With a question about a request that has waited already; set by Envoy, by where it came in."""

AGAIN_HEADER = "x-mr-again"
"""On the answer to a request that may not go on yet: its pool is full, or is cold again."""


class Ticket(NamedTuple):
    """Which pool a request waits for, and how."""

    pool: str
    streamed: bool
    """Whether the client asked for a stream of events."""

    @property
    def text(self) -> str:
        """As the header's value."""
        return f"{'stream' if self.streamed else 'plain'} {self.pool}"


def read_ticket(text: str) -> Ticket:
    """The ticket of a header's value."""
    kind, _, pool = text.partition(" ")
    return Ticket(pool, kind == "stream")
