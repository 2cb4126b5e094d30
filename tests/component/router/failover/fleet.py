"""Three pools on five simulated servers, each pool with its own model, parameters and key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from component.router.failover.load import CLIENT_KEY
from component.router.rig import (
    Manifest,
    Received,
    Rig,
    Router,
    Simulator,
    eventually,
    pool,
    provider,
    route,
    secret,
)

KEYS = {"beta": "key-of-beta", "gamma": "key-of-gamma"}
PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    # Of a first pool without changes the listener sets the model, of the others the pool does.
    "alpha": {},
    "beta": {"rename": {"max_tokens": "max_completion_tokens"}},
    "gamma": {"drop": ["temperature"]},
}
SENT = {"model", "messages", "max_tokens", "temperature"}
RECEIVED: Mapping[str, set[str]] = {
    "alpha": SENT,
    "beta": SENT - {"max_tokens"} | {"max_completion_tokens"},
    "gamma": SENT - {"temperature"},
}
"""Parameters that arrive at each pool."""
HEALTH = {"interval": "300ms", "timeout": "600ms", "unhealthyThreshold": 2, "healthyThreshold": 1}
"""A server that gets no processor for a moment, as others start, is not dead."""
OUTLIERS = {"consecutiveErrors": 3, "baseEjectionTime": "500ms", "maxEjectionPercent": 100}
QUICK: Mapping[str, Any] = {"healthCheck": HEALTH, "outlierDetection": OUTLIERS}
RETRY = {"attempts": 2, "perTryTimeout": "1s"}
ORDER = ("alpha", "beta", "gamma")


class Fleet:
    """The servers, and the manifests that name them."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        first = rig.simulators("alpha-1", "alpha-2", "alpha-3", model="acme/alpha", wait=False)
        others = [
            rig.simulators(name, options=["--api-key", KEYS[name]], wait=False)[0]
            for name in ("beta", "gamma")
        ]
        self.servers: dict[str, list[Simulator]] = {
            "alpha": first,
            "beta": [others[0]],
            "gamma": [others[1]],
        }
        for server in self.all:
            server.wait()
        self.used: list[Manifest] = []
        """The manifests in force."""

    @property
    def all(self) -> list[Simulator]:
        return [server for servers in self.servers.values() for server in servers]

    def of(self, name: str) -> Simulator:
        """The only server of a pool, or the first one."""
        return self.servers[name][0]

    def manifests(self, *more: Manifest, **spec: Any) -> list[Manifest]:
        """The pools, and a route `assistant` over them; `spec` is added to the route's."""
        return [
            *self.pools(),
            route("assistant", **{"pools": list(ORDER), "retry": RETRY, **spec}),
            *more,
        ]

    def pools(self, **changes: Mapping[str, Any]) -> list[Manifest]:
        """The pools and their keys; `changes` to their specs by name."""
        made: list[Manifest] = []
        for name, servers in self.servers.items():
            spec = {"parameters": PARAMETERS[name], **QUICK, **changes.get(name, {})}
            if name in KEYS:
                made += [
                    provider(name, servers[0], secret=name, **spec),
                    secret(name, KEYS[name]),
                ]
            else:
                addresses = spec.pop("endpoints", [server.address for server in servers])
                made.append(pool(name, *addresses, model=servers[0].model, **spec))
        return made

    async def use(self, router: Router, *manifests: Manifest) -> None:
        """Have these manifests in force, and all servers well in the router's eyes."""
        wanted = list(manifests) or self.manifests()
        if wanted != self.used:
            await self.healthy(router)
            await router.apply(*wanted)
            self.used = wanted
        await self.healthy(router)

    async def restore(self) -> None:
        """Every server alive, without faults and with an empty journal."""
        await self.restore_only(*self.servers)
        await asyncio.gather(*(server.forget() for server in self.all))

    async def restore_only(self, *names: str) -> None:
        """The servers of these pools alive and without faults."""
        servers = [server for name in names for server in self.servers[name]]
        dead = [server for server in servers if not server.alive]
        for server in servers:
            if server in dead:
                server.log.write_text("")
                server.launch()
            else:
                server.resume()
        for server in dead:
            await asyncio.to_thread(server.wait)
        await asyncio.gather(*(server.fault() for server in servers))

    async def healthy(self, router: Router, *names: str, within: float = 10.0) -> None:
        """Return once all endpoints of these pools, or of all, are well: for Envoy, which ejects
        and takes back at once, and in the agent's eyes."""

        async def well() -> bool:
            try:
                pools = (await router.view())["pools"]
                now = await router.healthy_in_envoy()
            except OSError:
                return False  # One of them is being started again.
            wanted = names or [name for name in self.servers if name in pools]
            return all(
                now.get(name) == pools[name]["ready"] == pools[name]["endpoints"] > 0
                for name in wanted
            )

        await eventually(well, within=within)

    # What arrived

    async def counts(self) -> dict[str, int]:
        """Requests by pool since the journals were emptied; of pools with a server alive."""
        alive = [server for server in self.all if server.alive]
        totals = await asyncio.gather(*(server.count() for server in alive))
        counts = dict.fromkeys(self.servers, 0)
        for server, total in zip(alive, totals, strict=True):
            counts[server.name.split("-")[0]] += total
        return counts

    async def assert_untouched(self, *names: str) -> None:
        """No request came to these pools."""
        counts = await self.counts()
        assert not any(counts[name] for name in names), counts

    async def assert_pure(self, *names: str) -> dict[str, int]:
        """What the pools received has their own model, parameters and key, and no other's.

        The servers besides refuse any other key or model, so that a wrong one is a failed
        request. Returns how many requests each pool's journals hold.
        """
        seen: dict[str, int] = {}
        for name in names or ORDER:
            for server in self.servers[name]:
                entries = await server.received() if server.alive else []
                seen[name] = seen.get(name, 0) + len(entries)
                for entry in entries:
                    self._assert_pure(name, entry)
        return seen

    def _assert_pure(self, name: str, entry: Received) -> None:
        body = entry.json
        assert body["model"] == self.of(name).model, (name, body)
        assert set(body) - {"stream"} == RECEIVED[name], (name, body)
        key = KEYS.get(name)
        assert entry.header("authorization") == (f"Bearer {key}" if key else None), name
        assert entry.header("host") == f"127.0.0.1:{entry_port(self.servers[name], entry)}"
        text = repr(entry.headers) + entry.body.decode()
        for foreign in (CLIENT_KEY, *(value for owner, value in KEYS.items() if owner != name)):
            assert foreign not in text, (name, foreign)
        assert not any(header.startswith(("x-mr-", "x-envoy-")) for header in entry.names), (
            entry.headers
        )


def entry_port(servers: Sequence[Simulator], entry: Received) -> int:
    """The port that the request names, if it is one of these servers'."""
    host = entry.header("host") or ""
    ports = {server.port for server in servers}
    port = int(host.rpartition(":")[2] or 0)
    assert port in ports, (host, ports)
    return port


async def run_for(seconds: float) -> float:
    """Let traffic run; the moment when this began."""
    began = time.monotonic()
    await asyncio.sleep(seconds)
    return began
