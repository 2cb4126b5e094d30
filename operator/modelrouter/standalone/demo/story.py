"""The story that the demonstration tells, act by act, and what it measured."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from modelrouter.standalone.assembling import StandaloneRouter
from modelrouter.standalone.demo.manifests import change_weights
from modelrouter.standalone.demo.screen import Screen
from modelrouter.standalone.demo.tally import (
    FALL_THROUGH,
    Disturbance,
    Shift,
    Tally,
    disturbance,
    shift,
)
from modelrouter.standalone.events import Event, Level
from modelrouter.standalone.supervising import Child

ROUTE, FIRST_POOL, SECOND_POOL = "support-assistant", "llama-8b", "gpt"
_PATIENCE = 15.0
"""Seconds in which something that should happen has to happen."""


class UnexpectedTurnError(Exception):
    """The story cannot go on; the message says what did not happen."""


@dataclass(slots=True)
class Findings:
    """What the acts measured; None: the story did not get there. Times are seconds."""

    acknowledged: float | None = None
    """From the save of the new weights until Envoy ran on them."""
    shift: Shift | None = None
    server: Disturbance | None = None
    """After the kill of one server of two."""
    pool: Disturbance | None = None
    """After the kill of the whole pool."""
    healed: float | None = None
    """From the start of the pool's servers until one answered a request again."""
    agent: Disturbance | None = None
    """After the kill of the agent."""
    alone: int = 0
    """Requests that Envoy placed while the agent was away."""
    policy_back: float | None = None
    """From the kill of the agent to the first request that a new one decided on."""


@dataclass(slots=True)
class Story:
    """Everything that happens to one router under load."""

    router: StandaloneRouter
    manifests: Path
    """The directory of the manifests, which may be edited."""
    tally: Tally
    screen: Screen
    pace: float = 1.0
    """Length of the acts, relative to what a person can follow."""
    findings: Findings = field(default_factory=Findings)
    kills: list[float] = field(default_factory=list)
    """When servers were killed, by the monotonic clock."""

    def may_be_cut(self, begin: float, end: float) -> bool:
        """Whether a server was killed in this span of time."""
        return any(begin <= kill <= end for kill in self.kills)

    async def tell(self) -> None:
        """All acts in order."""
        await self._steady()
        await self._move_weight()
        await self._kill_server()
        await self._kill_pool()
        await self._kill_agent()

    async def _steady(self) -> None:
        self.screen.act(f"1. Steady traffic: 90 % to {FIRST_POOL}, 10 % to {SECOND_POOL}")
        await self._linger(10)

    async def _move_weight(self) -> None:
        self.screen.act("2. Move a weight: 50 and 50, by editing the manifest")
        before = list(self.tally.answers)
        known, saved, saved_at = self.router.live_version, time.time(), time.monotonic()
        file = self.manifests / "route.yaml"
        await asyncio.to_thread(change_weights, file, {FIRST_POOL: 50, SECOND_POOL: 50})
        await self._until(lambda: self.router.live_version != known, "the new weights to be live")
        self.findings.acknowledged = self.router.live_since - saved
        await self._linger(9)
        after = self.tally.between(saved_at, time.monotonic())
        self.findings.shift = shift(before, after, saved_at, ROUTE, SECOND_POOL)

    async def _kill_server(self) -> None:
        self.screen.act(f"3. Kill one of the two servers of {FIRST_POOL} (kill -9), under load")
        killed = self._kill(self._servers()[:1])
        await self._linger(7)
        self.findings.server = self._noticed(killed)

    async def _kill_pool(self) -> None:
        self.screen.act(f"4. Kill the rest of {FIRST_POOL}: the whole pool is gone")
        servers = self._servers()
        killed = self._kill(servers[1:])
        await self._linger(7)
        self.findings.pool = self._noticed(killed)
        self.screen.act(f"   … and start {FIRST_POOL} again")
        back = time.monotonic()
        for server in servers:
            server.release()
        await self._until(
            lambda: any(
                answer.pool == FIRST_POOL and answer.started > back
                for answer in self.tally.between(back, time.monotonic())
            ),
            f"{FIRST_POOL} to answer again",
        )
        self.findings.healed = time.monotonic() - back
        await self._linger(5)

    async def _kill_agent(self) -> None:
        self.screen.act("5. Kill the agent (kill -9): Envoy goes on alone until it is back")
        agent = self.router.children["agent"]
        killed = time.monotonic()
        agent.send(signal.SIGKILL)
        before = agent.starts
        await self._until(lambda: agent.starts > before, "the agent to be started again")
        await self._until(lambda: self._decided_since(killed) is not None, "the policy to be back")
        await self._linger(5)
        self.findings.agent = self._noticed(killed)
        answers = self.tally.between(killed, time.monotonic())
        self.findings.alone = sum(1 for answer in answers if answer.reason == FALL_THROUGH)
        self.findings.policy_back = self._decided_since(killed)

    def _decided_since(self, killed: float) -> float | None:
        """Seconds from the agent's death to the first request decided by policy again.

        A request decided just before the death counts for nothing: only those that began after
        one that Envoy had to place alone; where there was none, the agent was never missed.
        """
        answers = [a for a in self.tally.between(killed, time.monotonic()) if a.started > killed]
        alone = [a.started for a in answers if a.reason == FALL_THROUGH]
        last_alone = max(alone, default=killed)
        decided = [a.started for a in answers if a.reason != FALL_THROUGH and not a.failure]
        later = [started for started in decided if started > last_alone]
        return min(later) - killed if later else None

    def _servers(self) -> list[Child]:
        return [
            child
            for name, child in sorted(self.router.children.items())
            if name.rpartition("-")[0] == FIRST_POOL
        ]

    def _kill(self, servers: list[Child]) -> float:
        killed = time.monotonic()
        for server in servers:
            server.hold()
            server.send(signal.SIGKILL)
            self.kills.append(time.monotonic())
        return killed

    def _noticed(self, killed: float) -> Disturbance:
        return disturbance(self.tally.between(killed, time.monotonic()), killed)

    async def _linger(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self.pace)

    async def _until(self, happened: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not happened():
            if time.monotonic() > deadline:
                self.screen.tell(Event(Level.ERROR, f"waited {_PATIENCE:.0f} s for {what}"))
                raise UnexpectedTurnError(f"waited {_PATIENCE:.0f} s in vain for {what}")
            await asyncio.sleep(0.005)
