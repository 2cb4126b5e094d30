"""Who waits for which pool: places, their bounds, and what is told about them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from modelrouter.api.router_config import PoolScaling
from modelrouter.policy.state import PoolState
from modelrouter.router.accounting.histogram import Histogram

WANTED_SECONDS = 10.0
"""How long a pool counts as wanted after a request that it would have got."""

MOST_BYTES = 64 * 1024 * 1024
"""Of bodies of all requests that wait: they are in the agent's memory."""

WAITING_BUCKETS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0)


class FullError(Exception):
    """No more requests, or no larger ones, may wait."""


class DismissedError(Exception):
    """The router is about to end: it cannot wait any longer."""


class _Door:
    """What the requests for one pool wait at."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.dismissed = False


class WaitingRoom:
    """The places of all pools. Belongs to one event loop."""

    def __init__(
        self, states: Mapping[str, PoolState], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._states = states
        self._clock = clock
        self._doors: dict[str, _Door] = {}
        self._wanted_until: dict[str, float] = {}
        self.scalings: Mapping[str, PoolScaling] = {}
        """The pools that scale from zero."""
        self.waiting: dict[str, int] = {}
        """Requests that wait, by pool."""
        self.bytes = 0
        """Of the bodies of all requests that wait."""
        self.ended: dict[tuple[str, str], int] = {}
        """Requests that do not wait any more, by pool and what became of them: `served`, `timeout`,
        `full`, `gone` (the client), `ended` (the router) or `failed`."""
        self.seconds: dict[str, Histogram] = {}
        """How long they waited, by pool."""

    @property
    def occupied(self) -> bool:
        """Whether anybody waits."""
        return any(self.waiting.values())

    def wake(self, pool: str) -> None:
        """A request would have gone to this pool, whether it waits or not."""
        self._wanted_until[pool] = self._clock() + WANTED_SECONDS

    def wanted(self, pool: str) -> int:
        """How many requests want the pool to be started: those that wait for it; for a moment
        one, when another pool has taken it."""
        lately = self._wanted_until.get(pool, float("-inf")) > self._clock()
        return max(self.waiting.get(pool, 0), int(lately))

    def enter(self, pool: str) -> Place:
        """Take a place. Raises `FullError`."""
        scaling = self.scalings.get(pool)
        if scaling is not None and self.waiting.get(pool, 0) >= scaling.max_waiting:
            self.note_end(pool, "full", self._clock())
            raise FullError
        return Place(self, pool, PoolScaling() if scaling is None else scaling)

    def open_doors(self) -> None:
        """Let those go on whose pool is ready, or is none any more that scales from zero."""
        for pool in [name for name in self._doors if not self._is_cold(name)]:
            self._doors.pop(pool).opened.set()

    def dismiss(self) -> None:
        """End the waiting of all who wait now."""
        for door in self._doors.values():
            door.dismissed = True
            door.opened.set()
        self._doors.clear()

    async def until_ready(self, pool: str) -> None:
        """Wait until the pool is not cold. Raises `DismissedError`."""
        while self._is_cold(pool):
            door = self._doors.setdefault(pool, _Door())
            await door.opened.wait()
            if door.dismissed:
                raise DismissedError

    def _is_cold(self, pool: str) -> bool:
        state = self._states.get(pool)
        return state is not None and state.cold

    def count(self, pool: str, change: int) -> None:
        """So many more requests wait."""
        self.waiting[pool] = self.waiting.get(pool, 0) + change
        if not self.waiting[pool]:
            del self.waiting[pool]
        if (state := self._states.get(pool)) is not None:
            state.waiting = self.waiting.get(pool, 0)

    def note_end(self, pool: str, result: str, since: float) -> None:
        """A request does not wait any more."""
        key = (pool, result)
        self.ended[key] = self.ended.get(key, 0) + 1
        if result != "full":
            seconds = self.seconds.setdefault(pool, Histogram(WAITING_BUCKETS))
            seconds.observe(max(self._clock() - since, 0.0))

    def now(self) -> float:
        """By the room's clock, in seconds."""
        return self._clock()


class Place:
    """One request's place, as a context manager; it may be left and taken again in between."""

    def __init__(self, room: WaitingRoom, pool: str, scaling: PoolScaling) -> None:
        self.pool = pool
        self.patience_seconds = scaling.wait_timeout_ms / 1000
        self._room = room
        self._since = room.now()
        self._bytes = 0
        self._taken = False
        self._ended = False

    def __enter__(self) -> Self:
        self.take()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end("full" if kind is FullError else "gone")

    def take(self) -> None:
        """Wait (again), whatever the bound."""
        if not self._taken:
            self._taken = True
            self._room.count(self.pool, 1)

    def leave(self) -> None:
        """Do not wait any more, for now or for good."""
        if self._taken:
            self._taken = False
            self._room.count(self.pool, -1)

    @property
    def waited_ms(self) -> float:
        """Time since the request came."""
        return (self._room.now() - self._since) * 1000

    def hold(self, size: int) -> None:
        """Keep so many more bytes of the request. Raises `FullError`."""
        if self._room.bytes + size > MOST_BYTES:
            raise FullError
        self._bytes += size
        self._room.bytes += size

    def end(self, result: str) -> None:
        """What became of the request is known, and the request is let go. The first one counts."""
        if not self._ended:
            self._ended = True
            self.leave()
            self._room.bytes -= self._bytes
            self._room.note_end(self.pool, result, self._since)
