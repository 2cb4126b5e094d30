"""Draining by files: how Envoy's container tells the agent that it is about to end.

Kubernetes stops a pod's main container before its sidecars. Envoy's `preStop` hook is a shell that
can do little more than to touch a file and to wait for another; the agent does what is between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog

from modelrouter.files import replace_file
from modelrouter.router.envoy.settings import LETTING_GO

log = structlog.get_logger(__name__)

DRAIN_FILE = "drain"
"""Made by Envoy's container when it is to stop."""

DRAINED_FILE = "drained"
"""Made by the agent when Envoy may stop."""

SHORTEST_DRAIN_SECONDS = 6.0
"""Others need some seconds to learn that this router goes: kube-proxy, load balancers, and
clients with connections that Envoy closes bit by bit. New requests are served all the while."""

_LOOK_SECONDS = 0.1
_CLOCK_SECONDS = 1.5
"""Envoy tells its age in whole seconds."""


class DrainedAgent(Protocol):
    """What draining needs of the agent."""

    def start_draining(self) -> None:
        """Not ready any more."""

    def stop_draining(self) -> None:
        """Ready again."""


async def drain_on_request(
    directory: Path,
    agent: DrainedAgent,
    drain: Callable[[], Awaitable[None]],
    envoy_started_at: Callable[[], Awaitable[float | None]],
    shortest_seconds: float = SHORTEST_DRAIN_SECONDS,
) -> None:
    """Watch for the request to drain, for ever.

    A request that is older than Envoy was for the one before: its container was restarted, by
    its liveness probe say, and the pod goes on.
    """
    asked, answered = directory / DRAIN_FILE, directory / DRAINED_FILE
    let_go = partial(replace_file, directory / LETTING_GO, mode=0o640)
    if not asked.exists():
        let_go(b"0")
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        try:
            asked_at = asked.stat().st_mtime
        except OSError:
            continue
        started_at = await envoy_started_at()
        if started_at is not None and started_at > asked_at + _CLOCK_SECONDS:
            log.info("Envoy has been restarted; its traffic is welcome again")
            let_go(b"0")
            asked.unlink(missing_ok=True)
            answered.unlink(missing_ok=True)
            agent.stop_draining()
        elif not answered.exists():
            agent.start_draining()
            let_go(b"1")
            await asyncio.gather(drain(), asyncio.sleep(shortest_seconds))
            answered.touch(mode=0o660)
        else:
            agent.start_draining()
            await asyncio.sleep(5 * _LOOK_SECONDS)
