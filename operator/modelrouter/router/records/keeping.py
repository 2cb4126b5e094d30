"""Decision records: the last requests by their id, for as long as somebody may ask about them.

Each costs under a microsecond and some 450 bytes: what arrives from the access log is kept as it
came, and read only when it is asked for.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, NamedTuple

from modelrouter.router.accesslog.record import RequestRecord
from modelrouter.router.records.rating import Rating

MOST_RECORDS = 100_000
KEPT_SECONDS = 3600.0
MOST_COMMENTS = 2_000
"""Comments may be long, so fewer are kept than scores."""


class DecisionRecord(NamedTuple):
    """One request that a pool has answered."""

    request_id: str
    route: str
    reason: str
    """What placed it, as `x-mr-reason` tells it."""
    pool: str
    """The pool that answered."""
    attempts: int
    status: int
    duration_ms: float
    first_byte_ms: float | None
    prompt_tokens: int | None
    completion_tokens: int | None
    ended_at: float
    """By the clock of the records, in seconds."""

    @property
    def rule(self) -> str:
        """The rule that placed it; empty if none did."""
        first = self.reason.partition(";")[0]
        return first[5:] if first.startswith("rule:") else ""


class DecisionRecords:
    """The records of the last hour, of 100,000 requests at most."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        most: int = MOST_RECORDS,
        seconds: float = KEPT_SECONDS,
    ) -> None:
        self._clock = clock
        self._most = most
        self._seconds = seconds
        # Plain tuples: the garbage collector leaves those of strings and numbers alone.
        self._by_id: dict[str, tuple[Any, ...]] = {}
        self._order: deque[tuple[Any, ...]] = deque()
        self._ratings: dict[str, Rating] = {}
        self._comments: OrderedDict[str, None] = OrderedDict()
        self._awaited: dict[str, list[asyncio.Future[None]]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, record: RequestRecord) -> None:
        """A request has ended. Those that no pool has answered leave no record."""
        if not record.route or not record.pool:
            return
        now = self._clock()
        request_id = record.request_id
        # Clients choose the ids, and may choose one twice: the newer request counts.
        entry = (*record[:10], now)
        self._by_id[request_id] = entry
        if self._ratings and request_id in self._ratings:
            self._forget_rating(request_id)
        order = self._order
        order.append(entry)
        while len(order) > self._most or order[0][10] < now - self._seconds:
            self._forget(order.popleft())
        if self._awaited and request_id in self._awaited:
            for awaiting in self._awaited[request_id]:
                if not awaiting.done():
                    awaiting.set_result(None)

    def _forget(self, entry: tuple[Any, ...]) -> None:
        request_id = entry[0]
        if self._by_id.get(request_id) is entry:
            del self._by_id[request_id]
            self._forget_rating(request_id)

    def _forget_rating(self, request_id: str) -> None:
        if self._ratings.pop(request_id, None) is not None:
            self._comments.pop(request_id, None)

    def find(self, request_id: str) -> DecisionRecord | None:
        """The record of a request; None: there is none, or none any more."""
        entry = self._by_id.get(request_id)
        if entry is None or entry[10] < self._clock() - self._seconds:
            return None
        return DecisionRecord(*entry)

    async def find_soon(self, request_id: str, seconds: float) -> DecisionRecord | None:
        """The same for a request that may have ended just now: its record is on its way."""
        if found := self.find(request_id):
            return found
        arrival = asyncio.get_running_loop().create_future()
        self._awaited.setdefault(request_id, []).append(arrival)
        try:
            async with asyncio.timeout(seconds):
                await arrival
        except TimeoutError:
            return None
        finally:
            awaiting = self._awaited[request_id]
            awaiting.remove(arrival)
            if not awaiting:
                del self._awaited[request_id]
        return self.find(request_id)

    def rate(self, request_id: str, rating: Rating) -> bool:
        """Add a rating to a record that is there; False if it has one already."""
        if request_id in self._ratings:
            return False
        self._ratings[request_id] = rating
        if rating.comment:
            self._comments[request_id] = None
            if len(self._comments) > MOST_COMMENTS:
                oldest, _ = self._comments.popitem(last=False)
                self._ratings[oldest] = self._ratings[oldest]._replace(comment="")
        return True

    def rating_of(self, request_id: str) -> Rating | None:
        """The rating of a request; None if it has none."""
        return self._ratings.get(request_id)

    def view(self, request_id: str) -> dict[str, Any] | None:
        """A record for a person who looks; None if there is none."""
        record = self.find(request_id)
        if record is None:
            return None
        rating = self.rating_of(request_id)
        plain = record._asdict()
        del plain["ended_at"]
        return {
            **plain,
            "rule": record.rule,
            "seconds_ago": round(self._clock() - record.ended_at, 3),
            "feedback": rating._asdict() if rating else None,
        }
