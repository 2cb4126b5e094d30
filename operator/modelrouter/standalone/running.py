"""`modelrouter run`: Envoy and the agent on this machine, following a set of manifests."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from modelrouter.standalone.assembling import StandaloneRouter, StartError
from modelrouter.standalone.envoy_binary import EnvoyNotFoundError
from modelrouter.standalone.events import Event, Level
from modelrouter.standalone.options import OptionError, RunOptions
from modelrouter.standalone.runtime_directory import runtime_directory
from modelrouter.standalone.viewing import Audience, live_audience, plain_audience

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_STOPPING = "stopping: open requests are finished first (Ctrl-C again stops at once)"


def run(options: RunOptions) -> int:
    """Run a router until it is told to stop; the exit status."""
    try:
        with runtime_directory() as runtime:
            return asyncio.run(_run(options, runtime))
    except (EnvoyNotFoundError, OptionError, StartError) as error:
        print(f"modelrouter: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


async def _run(options: RunOptions, runtime: Path) -> int:
    plain = options.plain or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb"
    audience: Audience = plain_audience() if plain else live_audience()
    try:
        router = StandaloneRouter(options, runtime, audience.tell)
        stop = asyncio.Event()

        def hear() -> None:
            if stop.is_set():
                router.kill()
            else:
                stop.set()
                audience.tell(Event(Level.INFO, _STOPPING))

        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, hear)
        async with router:
            if await unless(stop, router.start()):
                await unless(stop, _serve(router, audience))
        audience.tell(Event(Level.INFO, "stopped"))
    finally:
        audience.close()
    return 0


async def _serve(router: StandaloneRouter, audience: Audience) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(router.follow())
        tasks.create_task(audience.watch(router))


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do the work, or give it up when told to stop; whether it was done."""
    working = asyncio.create_task(work)
    waiting = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([working, waiting], return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait([working])
    if working.cancelled():
        return False
    working.result()
    return True
