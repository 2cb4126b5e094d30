"""The life of one simulated server: load, serve, stop as vLLM stops."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from aiohttp import web

from modelrouter.standalone.simulator.application import SERVER, make_app
from modelrouter.standalone.simulator.loading import loading
from modelrouter.standalone.simulator.server import Server
from modelrouter.standalone.simulator.settings import SimulatorSettings

__all__ = ["make_app", "serve"]

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_BACKLOG = 2048
"""Connections the kernel holds for the server, as uvicorn asks for."""


async def serve(
    settings: SimulatorSettings,
    *,
    ready: Callable[[int], None] | None = None,
    handle_signals: bool = True,
) -> None:
    """Serve until SIGTERM or SIGINT, until the engine dies of a fault, or until cancelled.

    `ready` is called with the port once the server listens, which is after its load time.
    A second signal ends the server at once. Without `handle_signals` the signals stay with the
    program around it, and only cancelling stops the server.

    Raises:
        LoadError: The model cannot be loaded.
    """
    stop, force = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        (force if stop.is_set() else stop).set()

    if handle_signals:
        for number in _SIGNALS:
            loop.add_signal_handler(number, on_signal)
    try:
        for text, duration in loading(settings):
            _say(settings, text)
            if await _happens(stop, duration):
                return
        await _serve_loaded(settings, ready, stop, force)
    finally:
        if handle_signals:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)


async def _serve_loaded(
    settings: SimulatorSettings,
    ready: Callable[[int], None] | None,
    stop: asyncio.Event,
    force: asyncio.Event,
) -> None:
    app = make_app(settings)
    runner = web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,
        auto_decompress=False,
        keepalive_timeout=settings.keep_alive_s,
        shutdown_timeout=0.1,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port, backlog=_BACKLOG)
        await site.start()
        names = ", ".join(settings.served_names)
        _say(settings, f"{names} on http://{settings.host}:{site.port}")
        if ready is not None:
            ready(site.port)
        server = app[SERVER]
        await _first_of(stop.wait(), server.engine.death.wait())
        if server.engine.death.is_set():
            _say(settings, "EngineCore encountered a fatal error: simulated death of the engine")
            await _first_of(stop.wait(), timeout_s=settings.death_s)
            return
        await _wind_down(settings, runner, site, server, force)
    finally:
        await runner.cleanup()


async def _wind_down(
    settings: SimulatorSettings,
    runner: web.AppRunner,
    site: web.TCPSite,
    server: Server,
    force: asyncio.Event,
) -> None:
    """Stop in vLLM's order: the engine first, then the HTTP server.

    With a timeout the engine finishes what it has while the port stays open and `/health` good;
    what arrives meanwhile is refused with status 500. When the engine is gone, the port closes;
    streams it left unfinished stay open, without another byte, until their clients leave.
    """
    if settings.shutdown_timeout_s > 0 and server.open_requests:
        _say(
            settings,
            f"draining in-flight requests: {server.open_requests}, "
            f"at most {settings.shutdown_timeout_s:g} s",
        )
        server.engine.draining = True
        await _first_of(server.idle(), force.wait(), timeout_s=settings.shutdown_timeout_s)
    server.engine.stop()
    await site.stop()
    if runner.server is not None:
        runner.server.pre_shutdown()  # Closes the connections that carry no request.
    if server.open_requests:
        _say(settings, f"stopped; {server.open_requests} requests are left hanging")
    await _first_of(server.idle(), force.wait())


async def _happens(event: asyncio.Event, timeout_s: float) -> bool:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), timeout_s)
    return event.is_set()


async def _first_of(*waits: Coroutine[Any, Any, object], timeout_s: float | None = None) -> None:
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def _say(settings: SimulatorSettings, text: str) -> None:
    name = f" {settings.label}" if settings.label else ""
    print(f"simulated vLLM{name}: {text}", file=sys.stderr, flush=True)
