"""Long work in slices, so that decisions never wait for it.

Configurations are prepared in a thread of their own. It shares the interpreter with the thread that
decides, and the processors with Envoy, which has its own work with a large configuration.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

SLICE_SECONDS = 0.001
PAUSE_SECONDS = 0.0005


class Pacer:
    """Call `breathe` after each small step of long work."""

    __slots__ = ("_since",)

    def __init__(self) -> None:
        self._since = time.perf_counter()

    async def breathe(self) -> None:
        """Pause if this work has gone on for a slice's time."""
        if self._is_due():
            await asyncio.sleep(PAUSE_SECONDS)
            self._since = time.perf_counter()

    def rest(self) -> None:
        """As `breathe`, in a thread without an event loop."""
        if self._is_due():
            time.sleep(PAUSE_SECONDS)
            self._since = time.perf_counter()

    def _is_due(self) -> bool:
        return time.perf_counter() - self._since > SLICE_SECONDS


async def let_go(*replaced: dict[str, Any]) -> None:
    """Free what nobody needs any more, entry by entry: a thousand routes at once take 10 ms."""
    pacer = Pacer()
    for entries in replaced:
        while entries:
            entries.popitem()
            await pacer.breathe()
