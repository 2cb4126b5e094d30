"""What Envoy's access log does not know of requests that have waited.

To Envoy the pool of such a request is the agent, and its stream begins well before anything is
known about its end. So the agent keeps pool, attempts and status until the line arrives.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from modelrouter.router.accesslog.record import RequestRecord

_MOST = 10_000
"""Lines may be lost when Envoy is killed."""


@dataclass(slots=True)
class Outcome:
    """What became of a request that waited; filled in as it goes on."""

    pool: str
    """The pool that answered it; before that, the one that it waits for."""
    attempts: int = 1
    status: int | None = None
    """None: what Envoy says."""
    first_byte_ms: float | None = None
    """Until the model's answer began, in a stream that began before; None: what Envoy says."""


class Outcomes:
    """The outcomes of requests whose line in the access log is still to come."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, list[Outcome]] = OrderedDict()

    def expect(self, request_id: str, pool: str) -> Outcome:
        """A request begins to wait. Clients choose the ids, and may choose one twice."""
        outcome = Outcome(pool)
        self._open.setdefault(request_id, []).append(outcome)
        if len(self._open) > _MOST:
            self._open.popitem(last=False)
        return outcome

    def settle(self, record: RequestRecord) -> RequestRecord:
        """The record of a request that has waited, as it was."""
        waiting = self._open.get(record.request_id)
        if waiting is None:
            return record._replace(pool="")  # it waited in an agent that has gone
        outcome = waiting.pop(0)
        if not waiting:
            del self._open[record.request_id]
        status = record.status
        # A client that left before the answer is told as 0, whatever would have come.
        if status and outcome.status is not None:
            status = outcome.status
        first_byte_ms = outcome.first_byte_ms or record.first_byte_ms
        return record._replace(
            pool=outcome.pool,
            attempts=outcome.attempts,
            status=status,
            first_byte_ms=first_byte_ms,
        )
