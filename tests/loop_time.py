"""How long work keeps an event loop from everything else."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable
from typing import TypeVar

Done = TypeVar("Done")


async def longest_hold(work: Awaitable[Done]) -> tuple[Done, float]:
    """What the work returns, and the most seconds for which nothing else could run meanwhile.

    CPU time of this thread, because other tests may share the core.
    """
    longest, watching = 0.0, True

    async def watch() -> None:
        nonlocal longest
        while watching:
            started = time.thread_time()
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - started)

    # The collector walks all that the test suite has imported, which an agent freezes.
    gc.collect()
    gc.disable()
    watcher = asyncio.create_task(watch())
    try:
        done = await work
    finally:
        watching = False
        gc.enable()
    await watcher
    return done, longest
