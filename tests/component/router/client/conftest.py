"""One router for all of these tests; each module gives it manifests of its own, live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import NamedTuple

import httpx
import openai
import pytest

from component.router.manifests import Manifest
from component.router.rig import Rig, Router, Simulator, pool, route

Serve = Callable[..., Router]


class Servers(NamedTuple):
    """Model servers, of the models acme/first, acme/second and acme/third. All of them answer to
    the name `common` as well."""

    first: Simulator
    second: Simulator
    third: Simulator


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Rig(tmp_path_factory.mktemp("client")) as rig:
        yield rig


@pytest.fixture(scope="session")
def servers(running: Rig) -> Servers:
    names = ("--served-model-name", "acme/{name}", "common")
    return Servers(*running.simulators(*Servers._fields, options=names))


@pytest.fixture(scope="session")
def serve(running: Rig, servers: Servers) -> Serve:
    """Puts manifests into force and returns the router."""
    router = running.router(pool("none", servers.first), route("none", pools=["none"]))
    in_force: list[tuple[Manifest, ...]] = [()]

    def apply(*manifests: Manifest) -> Router:
        if manifests != in_force[0]:
            asyncio.run(router.apply(*manifests))
            in_force[0] = manifests
        return router

    return apply


@pytest.fixture(autouse=True)
async def _fresh(servers: Servers) -> AsyncIterator[None]:
    """Each test finds healthy servers that have received nothing."""
    await asyncio.gather(*(server.forget() for server in servers))
    yield
    await asyncio.gather(*(server.fault() for server in servers))


@pytest.fixture
async def client(router: Router) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official client, pointed at the router and changed in nothing else."""
    async with router.client() as client:
        yield client


@pytest.fixture
async def http(router: Router) -> AsyncIterator[httpx.AsyncClient]:
    """For requests that the official client would not send."""
    async with router.http() as http:
        yield http
