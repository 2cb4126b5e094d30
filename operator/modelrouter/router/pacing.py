"""Long work on the event loop in slices, so that decisions never wait for it."""

from __future__ import annotations

import asyncio
import time

SLICE_SECONDS = 0.001


class Pacer:
    """Call `breathe` after each small step of long work."""

    __slots__ = ("_since",)

    def __init__(self) -> None:
        self._since = time.perf_counter()

    async def breathe(self) -> None:
        """Let others run if this work has held the event loop for a slice's time."""
        if time.perf_counter() - self._since > SLICE_SECONDS:
            await asyncio.sleep(0)
            self._since = time.perf_counter()
