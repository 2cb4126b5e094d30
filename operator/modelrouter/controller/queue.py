"""A queue of keys that want work: each key once, one worker per key, failures tried again later.

Level-triggered: a key says that something about it may have changed, not what. Marking it while
it waits costs nothing; marking it while it is worked on runs it once more afterwards.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, NamedTuple, Protocol, TypeVar

import structlog

log = structlog.get_logger(__name__)

FIRST_RETRY_SECONDS = 0.1
LONGEST_RETRY_SECONDS = 30.0

Key = TypeVar("Key", bound=Hashable)


class Watcher(Protocol):
    """Whoever counts what a queue does."""

    def worked(self, queue: str, seconds: float, error: BaseException | None) -> None:
        """A key was worked on for so long; the error, if it failed."""


class _Place(NamedTuple):
    """Where a key stands in the queue; the least is next."""

    behind: bool
    """Whether those go first for which somebody waits."""
    number: int

    @property
    def first(self) -> bool:
        return not self.behind


class WorkQueue(Generic[Key]):
    """Runs `work(key)` for every key that was added.

    `work` returns None, or the seconds after which the key wants to be looked at again. What it
    raises is logged, and the key comes back after a growing pause, or after the error's
    `retry_after` seconds if that is longer.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Key], Awaitable[float | None]],
        *,
        workers: int,
        watcher: Watcher | None = None,
        retryable: Callable[[Exception], bool] = lambda _: True,
    ) -> None:
        self.name = name
        self._work = work
        self._workers = workers
        self._watcher = watcher
        self._retryable = retryable
        self._ready: asyncio.PriorityQueue[tuple[_Place, Key]] = asyncio.PriorityQueue()
        self._numbers = itertools.count()
        self._waiting: dict[Key, _Place] = {}
        self._active: set[Key] = set()
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}

    def add(self, key: Key, delay: float = 0.0, *, first: bool = False) -> None:
        """Have the key worked on, at once or after `delay` seconds; the sooner call wins.

        `first`: before all that wait without it, as somebody waits for just this one.
        """
        waiting = self._waiting.get(key)
        if key in self._again or (waiting is not None and (first <= waiting.first)):
            return
        if delay > 0:
            self._add_later(key, delay)
            return
        self._drop_timer(key)
        if key in self._active:
            self._again.add(key)
        else:
            place = self._waiting[key] = _Place(not first, next(self._numbers))
            self._ready.put_nowait((place, key))

    @property
    def depth(self) -> dict[str, int]:
        """How many keys wait for a worker, are being worked on, or wait for their time."""
        return {
            "waiting": len(self._waiting) + len(self._again),
            "active": len(self._active),
            "delayed": len(self._timers),
        }

    @property
    def idle(self) -> bool:
        """Whether nothing waits, runs or is to be tried again."""
        return not any(self.depth.values())

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(self._workers):
                    workers.create_task(self._take_turns())
        finally:
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()

    async def _take_turns(self) -> None:
        while True:
            place, key = await self._ready.get()
            if self._waiting.get(key) != place:
                continue  # It has come before the others meanwhile.
            del self._waiting[key]
            self._active.add(key)
            try:
                await self._work_on(key)
            finally:
                self._active.discard(key)
            if key in self._again:
                self._again.discard(key)
                self.add(key)

    async def _work_on(self, key: Key) -> None:
        started = time.monotonic()
        failure: BaseException | None = None
        try:
            delay = await self._work(key)
        except Exception as error:
            failure = error
            if not self._retryable(error):
                raise
            delay = max(self._pause_after_failure(key), getattr(error, "retry_after", None) or 0.0)
            log.warning(
                "will be tried again",
                queue=self.name,
                key=str(key),
                seconds=round(delay, 1),
                error=str(error) or repr(error),
            )
        else:
            self._failures.pop(key, None)
        finally:
            if self._watcher is not None:
                self._watcher.worked(self.name, time.monotonic() - started, failure)
        if delay is not None:
            self._add_later(key, max(delay, 0.001))

    def _pause_after_failure(self, key: Key) -> float:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        longest: float = min(FIRST_RETRY_SECONDS * 2 ** (failures - 1), LONGEST_RETRY_SECONDS)
        # Half of the pause is random, so that keys that failed together do not come back together.
        return longest * random.uniform(0.5, 1.0)

    def _add_later(self, key: Key, delay: float) -> None:
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= loop.time() + delay:
            return
        self._drop_timer(key)
        self._timers[key] = loop.call_later(delay, self._ring, key)

    def _ring(self, key: Key) -> None:
        del self._timers[key]
        self.add(key)

    def _drop_timer(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
