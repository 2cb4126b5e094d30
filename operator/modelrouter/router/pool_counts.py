"""How many endpoints each pool has, and the load of autoscaled ones, as `/configz` tells it: to
many who ask, and not too often."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson

RENEWAL_SECONDS = 1.0
"""Shortest time between two tellings: endpoints that flap must not flood the operator."""


class PoolCounts:
    """The counts last told. Belongs to one event loop."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        renewal_seconds: float = RENEWAL_SECONDS,
    ) -> None:
        self._clock = clock
        self._renewal = renewal_seconds
        self._told_at = float("-inf")
        self._next: Mapping[str, Mapping[str, int]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._renewed = asyncio.Event()
        self.counts: Mapping[str, Mapping[str, int]] = {}
        """Pool → `ready` and `total`, and for an autoscaled one `inFlight` and `waiting`. A pool
        that Envoy knows nothing of yet is left out."""
        self.digest = _digest({})

    def offer(self, counts: Mapping[str, Mapping[str, int]]) -> None:
        """The counts as they are now; told at once, or when it is time again.

        That a pool is wanted which was not before is always told at once: somebody waits for it.
        """
        self._next = counts
        if counts == self.counts:
            return
        wait = self._told_at + self._renewal - self._clock()
        if wait <= 0 or any(map(self._is_newly_wanted, counts)):
            self._tell()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(wait, self._tell)

    def _is_newly_wanted(self, pool: str) -> bool:
        return bool(self._next[pool].get("waiting")) and not self.counts.get(pool, {}).get(
            "waiting"
        )

    def _tell(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._next == self.counts:
            return
        self.counts, self.digest = self._next, _digest(self._next)
        self._told_at = self._clock()
        self._renewed.set()
        self._renewed = asyncio.Event()

    async def changed(self, after: str) -> None:
        """Wait until the digest is another than `after`."""
        while self.digest == after:
            await self._renewed.wait()


def _digest(counts: Any) -> str:
    encoded = orjson.dumps(counts, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(encoded, digest_size=8).hexdigest()
