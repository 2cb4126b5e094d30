"""Decision records: the last requests by their id, for as long as somebody may ask about them.

Each costs about a microsecond and some 350 bytes: what arrives from the access log is kept as it
came, and read only when it is asked for.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from modelrouter.policy.arms import arm_of, rule_of
from modelrouter.router.accesslog.record import RequestRecord
from modelrouter.router.decisions.shadowing import ShadowChoice
from modelrouter.router.records.rating import Rating

MOST_RECORDS = 100_000
KEPT_SECONDS = 3600.0
PARTS = 100
"""Records are forgotten a hundredth at a time."""
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
        return rule_of(self.reason)

    @property
    def arm(self) -> str:
        """The side of a canary that it was meant for; empty: it took part in none."""
        return arm_of(self.reason)


class Part:
    """Records that came one after the other, and are forgotten together: forgetting them one by one
    would cost each request more than keeping it."""

    __slots__ = ("began_at", "entries", "ratings")

    def __init__(self, began_at: float) -> None:
        self.began_at = began_at
        # Plain tuples: the garbage collector leaves those of strings and numbers alone.
        self.entries: dict[str, tuple[Any, ...]] = {}
        self.ratings: dict[str, Rating] = {}


class DecisionRecords:
    """The records of the last hour, of 100,000 requests or a few more."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        most: int = MOST_RECORDS,
        seconds: float = KEPT_SECONDS,
    ) -> None:
        self._clock = clock
        self._most = most
        self._seconds = seconds
        self._size = max(most // PARTS, 1)
        self._lasts = seconds / PARTS
        self._newest = Part(clock())
        self._older: deque[Part] = deque()
        self._room = self._size
        self._commented: deque[tuple[Part, str]] = deque()
        self._awaited: dict[str, list[asyncio.Future[None]]] = {}
        self.shadows_of: Callable[[str], Sequence[ShadowChoice]] = lambda request_id: ()
        """Tells what shadows would have done with a request."""

    def __len__(self) -> int:
        return sum(len(part.entries) for part in self._parts())

    def add(self, record: RequestRecord) -> None:
        """A request has ended. Those that no pool has answered leave no record."""
        if not record.route or not record.pool:
            return
        request_id = record.request_id
        now = self._clock()
        newest = self._newest
        if not self._room or now - newest.began_at > self._lasts:
            newest = self._turn(now)
        self._room -= 1
        # Clients choose the ids, and may choose one twice: the newer request counts.
        newest.entries[request_id] = record[:10] + (now,)  # noqa: RUF005 - half the time
        if newest.ratings:
            newest.ratings.pop(request_id, None)
        if self._awaited and request_id in self._awaited:
            for awaiting in self._awaited[request_id]:
                if not awaiting.done():
                    awaiting.set_result(None)

    def _turn(self, now: float) -> Part:
        """Begin a new part and forget those that are too old or too many."""
        older = self._older
        older.append(self._newest)
        kept = sum(len(part.entries) for part in older)
        while (rest := kept - len(older[0].entries)) >= self._most:
            older.popleft()
            kept = rest
        while older and older[0].began_at + self._lasts < now - self._seconds:
            older.popleft()
        self._newest = Part(now)
        self._room = self._size
        return self._newest

    def _parts(self) -> Iterator[Part]:
        """The newest first."""
        yield self._newest
        yield from reversed(self._older)

    def _part_of(self, request_id: str) -> Part | None:
        oldest = self._clock() - self._seconds
        for part in self._parts():
            entry = part.entries.get(request_id)
            if entry is not None:
                return part if entry[10] >= oldest else None
        return None

    def find(self, request_id: str) -> DecisionRecord | None:
        """The record of a request; None: there is none, or none any more."""
        part = self._part_of(request_id)
        return DecisionRecord(*part.entries[request_id]) if part is not None else None

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
        """Add a rating to a record; False if there is none, or it has a rating already."""
        part = self._part_of(request_id)
        if part is None or request_id in part.ratings:
            return False
        part.ratings[request_id] = rating
        if rating.comment:
            self._commented.append((part, request_id))
            if len(self._commented) > MOST_COMMENTS:
                old, of = self._commented.popleft()
                if of in old.ratings:
                    old.ratings[of] = old.ratings[of]._replace(comment="")
        return True

    def rating_of(self, request_id: str) -> Rating | None:
        """The rating of a request; None if it has none."""
        part = self._part_of(request_id)
        return part.ratings.get(request_id) if part is not None else None

    def view(self, request_id: str) -> dict[str, Any] | None:
        """A record for a person who looks; None if there is none."""
        record = self.find(request_id)
        if record is None:
            return None
        rating = self.rating_of(request_id)
        plain = record._asdict()
        del plain["ended_at"]
        if shadows := self.shadows_of(request_id):
            plain["shadows"] = [choice._asdict() for choice in shadows]
        return {
            **plain,
            "rule": record.rule,
            "arm": record.arm,
            "seconds_ago": round(self._clock() - record.ended_at, 3),
            "feedback": rating._asdict() if rating else None,
        }
