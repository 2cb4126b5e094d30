"""Two routers that know of each other, in front of the same servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import pytest

from component.holding.rig import CHAT, HELLO, Pair, pool, route
from component.router.rig import Rig
from component.router.simulators import Simulator


class Routers(NamedTuple):
    one: Pair
    other: Pair


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Simulator]]:
    """Model servers `old` and `new`."""
    with Rig(tmp_path_factory.mktemp("servers")) as rig:
        yield rig.simulators("old", "new", options=("--served-model-name", "acme/{name}"))


@pytest.fixture
async def old(servers: list[Simulator]) -> AsyncIterator[Simulator]:
    yield servers[0]
    await servers[0].fault()


@pytest.fixture
async def new(servers: list[Simulator]) -> AsyncIterator[Simulator]:
    yield servers[1]
    await servers[1].fault()


@pytest.fixture(scope="session")
def routers() -> Iterator[Routers]:
    with Pair() as first:
        # Itself is among them, as behind a Service.
        peers = [f"127.0.0.1:{first.admin_port}"]
        with Pair() as second:
            peers.append(f"127.0.0.1:{second.admin_port}")
            for pair in (first, second):
                pair.options = [word for peer in peers for word in ("--peer", peer)]
            yield Routers(first, second)


@pytest.fixture
async def both(routers: Routers, old: Simulator, new: Simulator) -> Routers:
    """Routers that have a configuration with the route `chat`."""
    await asyncio.gather(*(pair.apply(pools(old, new), chat=split(None)) for pair in routers))
    return routers


def pools(old: Simulator, new: Simulator) -> dict[str, Any]:
    """Pools `old` and `new`; the new one costs something."""
    ejection = {"consecutive_errors": 1000, "base_ejection_time_ms": 100, "max_ejection_percent": 1}
    price = {"input": "1", "output": "100"}
    return {
        "old": pool(old, model="acme/old", ejection=ejection),
        "new": pool(new, model="acme/new", ejection=ejection, price=price),
    }


def split(canary: str | None, weight: int = 50, **fields: Any) -> dict[str, Any]:
    """A route with a canary of this id from `old` to `new`; None: without one."""
    targets = [{"pool": "old", "weight": 100 - weight}, {"pool": "new", "weight": weight}]
    rule = {"name": "default", "targets": targets, "failover": ["old"]}
    more: dict[str, Any] = {"rules": [rule], **fields}
    if canary is not None:
        arms = {"rule": "default", "stable": "old", "candidate": "new"}
        more["canary"] = {"id": canary, **arms}
    return route("old", "new", **more)


async def answered(pair: Pair, **fields: Any) -> str:
    """The id of a request that was answered just now."""
    async with pair.http() as http:
        answer = await http.post(CHAT, json={"model": "chat", "messages": HELLO, **fields})
    assert answer.status_code == 200, answer.text
    request_id: str = answer.headers["x-request-id"]
    return request_id


@pytest.fixture
def own_pair() -> Iterator[Pair]:
    """For a test that breaks it."""
    with Pair() as running:
        yield running
