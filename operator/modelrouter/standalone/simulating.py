"""Simulated model servers for the pools that nobody answers for."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from modelrouter.api.pool import ModelPool, ModelPoolSpec
from modelrouter.api.quantities import split_address
from modelrouter.standalone.lookup import is_loopback
from modelrouter.standalone.ports import free_port, is_reachable
from modelrouter.standalone.supervising import Command

RESTART_DELAY = 3.0
"""Seconds that a simulated server stays away when it dies, so that its loss can be watched."""
_MOST_SERVERS = 8
"""Simulated servers for one pool, however many addresses it names."""

Reachable = Callable[[str, int], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Server:
    """One simulated server."""

    pool: str
    index: int
    """Its place among its pool's servers, from 0."""
    model: str
    port: int
    first_token_ms: int
    """Milliseconds to the first token of an answer."""
    per_token_ms: int
    """Milliseconds between tokens."""
    context_window: int | None

    @property
    def name(self) -> str:
        """What people call it: the pool's name and its place."""
        return f"{self.pool}-{self.index}"

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    @property
    def command(self) -> Command:
        """The program to run."""
        arguments = [
            *(sys.executable, "-m", "modelrouter.standalone.simulator"),
            *("--model", self.model, "--host", "127.0.0.1", "--port", str(self.port)),
            *("--label", self.name, "--seed", str(self.index)),
            *("--first-token", str(self.first_token_ms), "--per-token", str(self.per_token_ms)),
        ]
        if self.context_window is not None:
            arguments += ["--max-model-len", str(self.context_window)]
        return Command(self.name, arguments, restart_delay=RESTART_DELAY)


@dataclass(frozen=True, slots=True)
class Simulation:
    """The simulated servers of one pool."""

    servers: tuple[Server, ...]
    overrides: bool
    """Whether their addresses take the place of the pool's own."""


@dataclass(slots=True)
class Simulations:
    """Which pools are simulated. A pool is looked at once, and again when its source changes."""

    reachable: Reachable = is_reachable
    choose_port: Callable[[], int] = free_port
    _known: dict[str, tuple[object, Simulation | None]] = field(default_factory=dict)

    async def update(self, pools: Mapping[str, ModelPool]) -> None:
        """Decide for pools that are new or changed, and forget those that are gone."""
        for name in set(self._known) - set(pools):
            del self._known[name]
        new = {
            name: pool
            for name, pool in pools.items()
            if name not in self._known or self._known[name][0] != _identity(pool.spec)
        }
        found = await asyncio.gather(*(self._decide(name, new[name].spec) for name in new))
        for name, simulation in zip(new, found, strict=True):
            self._known[name] = (_identity(new[name].spec), simulation)

    @property
    def servers(self) -> dict[str, Server]:
        """All simulated servers by name."""
        return {
            server.name: server
            for _, simulation in self._known.values()
            if simulation is not None
            for server in simulation.servers
        }

    @property
    def addresses(self) -> dict[str, list[str]]:
        """By pool, the addresses that take the place of its own."""
        return {
            name: [server.address for server in simulation.servers]
            for name, (_, simulation) in self._known.items()
            if simulation is not None and simulation.overrides
        }

    async def _decide(self, name: str, spec: ModelPoolSpec) -> Simulation | None:
        addresses = pool_addresses(spec)
        answers = await asyncio.gather(*(self.reachable(*address) for address in addresses))
        if any(answers):
            return None
        local = all(is_loopback(host) for host, _ in addresses) and spec.provider is None
        ports = [
            port if local else self.choose_port() for _, port in addresses[:_MOST_SERVERS]
        ]
        # A provider is further away than a server of one's own, and so is everything it says.
        first, per_token = (120, 10) if spec.provider is not None else (40, 6)
        servers = tuple(
            Server(name, index, spec.model, port, first, per_token, spec.context_window)
            for index, port in enumerate(ports)
        )
        return Simulation(servers, overrides=not local or len(ports) < len(addresses))


def pool_addresses(spec: ModelPoolSpec) -> list[tuple[str, int]]:
    """Host and port of everything that may answer for the pool."""
    if spec.provider is not None:
        url = urlsplit(spec.provider.url)
        return [(url.hostname or "", url.port or (443 if url.scheme == "https" else 80))]
    return [split_address(address) for address in spec.endpoints or ()]


def _identity(spec: ModelPoolSpec) -> object:
    """What a simulated server depends on."""
    return (spec.model, spec.endpoints, spec.provider, spec.context_window)
