"""Simulated model servers for the pools that nobody answers for."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Set
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from modelrouter.api.pool import ModelPool, ModelPoolSpec
from modelrouter.api.quantities import is_ip_address, split_address
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
    models: tuple[str, ...]
    """What it serves; more than one where several pools name its address."""
    host: str
    port: int
    first_token_ms: int
    """Milliseconds to the first token of an answer."""
    per_token_ms: int
    """Milliseconds between tokens."""
    context_window: int | None
    adapters: tuple[str, ...] = ()
    """Adapters that it serves, too, each by its name."""

    @property
    def name(self) -> str:
        """What people call it: the pool's name and its place."""
        return f"{self.pool}-{self.index}"

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"{self.host}:{self.port}"

    @property
    def command(self) -> Command:
        """The program to run."""
        arguments = [
            *(sys.executable, "-m", "modelrouter.standalone.simulator"),
            *("--model", self.models[0], "--host", self.host, "--port", str(self.port)),
            *("--name", self.name, "--seed", str(self.index)),
            *("--first-token", str(self.first_token_ms), "--per-token", str(self.per_token_ms)),
        ]
        if self.context_window is not None:
            arguments += ["--max-model-len", str(self.context_window)]
        if self.adapters:
            modules = [f"{adapter}={adapter}" for adapter in self.adapters]
            arguments += ["--enable-lora", "--lora-modules", *modules]
        if len(self.models) > 1:
            arguments += ["--served-model-name", *self.models]
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
        own = {(server.host, server.port) for server in self.servers.values()}
        for name in set(self._known) - set(pools):
            del self._known[name]
        new = {
            name: pool.spec
            for name, pool in sorted(pools.items())
            if name not in self._known or self._known[name][0] != _identity(pool.spec)
        }
        found = await asyncio.gather(*(self._decide(name, spec, own) for name, spec in new.items()))
        for (name, spec), simulation in zip(new.items(), found, strict=True):
            self._known[name] = (_identity(spec), simulation)

    @property
    def servers(self) -> dict[str, Server]:
        """All simulated servers by name; pools that name the same address share one."""
        by_address: dict[tuple[str, int], Server] = {}
        for _, simulation in self._known.values():
            for server in simulation.servers if simulation is not None else ():
                shared = by_address.setdefault((server.host, server.port), server)
                models = tuple(dict.fromkeys(shared.models + server.models))
                by_address[server.host, server.port] = replace(shared, models=models)
        return {server.name: server for server in by_address.values()}

    @property
    def addresses(self) -> dict[str, list[str]]:
        """By pool, the addresses that take the place of its own."""
        return {
            name: [server.address for server in simulation.servers]
            for name, (_, simulation) in self._known.items()
            if simulation is not None and simulation.overrides
        }

    async def _decide(
        self, name: str, spec: ModelPoolSpec, own: Set[tuple[str, int]]
    ) -> Simulation | None:
        addresses = pool_addresses(spec)
        # Where one of our own servers answers, nobody else does.
        others = [address for address in addresses if address not in own]
        if any(await asyncio.gather(*(self.reachable(*address) for address in others))):
            return None
        movable = spec.source != "endpoints"
        in_place = not movable and all(_can_listen(host) for host, _ in addresses)
        places = addresses[:_MOST_SERVERS]
        if not in_place:
            number = len(places) or min(_replicas(spec), _MOST_SERVERS)
            places = [("127.0.0.1", self.choose_port()) for _ in range(number)]
        # A provider is further away than a server of one's own, and so is everything it says.
        first, per_token = (120, 10) if spec.provider is not None else (40, 6)
        servers = tuple(
            Server(
                *(name, index, (spec.model,), host, port, first, per_token, spec.context_window),
                adapters=_adapters(spec),
            )
            for index, (host, port) in enumerate(places)
        )
        return Simulation(servers, overrides=not in_place or len(places) < len(addresses))


def pool_addresses(spec: ModelPoolSpec) -> list[tuple[str, int]]:
    """Host and port of everything on this network that may answer for the pool.

    A Service has none: it is a name inside some cluster, and so are servers that run there.
    """
    if spec.provider is not None:
        url = urlsplit(spec.provider.url)
        return [(url.hostname or "", url.port or (443 if url.scheme == "https" else 80))]
    return [split_address(address) for address in spec.endpoints or ()]


def _adapters(spec: ModelPoolSpec) -> tuple[str, ...]:
    return tuple(each.name for each in spec.vllm.lora_adapters) if spec.vllm is not None else ()


def _replicas(spec: ModelPoolSpec) -> int:
    """How many servers stand in for those of a cluster; at least one, so that it can be used."""
    return max(1, spec.vllm.replicas or 1) if spec.vllm is not None else 1


def _can_listen(host: str) -> bool:
    """Whether a simulated server can stand at this host: it is this machine's loopback."""
    return host == "localhost" or (is_ip_address(host) and host.startswith("127."))


def _identity(spec: ModelPoolSpec) -> object:
    """What decides whether and how a pool is simulated."""
    return (spec.model, spec.endpoints, spec.provider, spec.service, spec.vllm)
