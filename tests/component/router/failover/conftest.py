"""The fleet, and one router in front of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from component.router.failover.fleet import Fleet
from component.router.rig import Rig, Router


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Rig(tmp_path_factory.mktemp("fleet")) as rig:
        yield Fleet(rig)


@pytest.fixture(scope="session")
def router(servers: Fleet) -> Router:
    """One router for all of these tests; they bring their own manifests."""
    servers.used = servers.manifests()
    return servers.rig.router(*servers.used)


@pytest_asyncio.fixture
async def fleet(servers: Fleet, router: Router) -> AsyncIterator[Fleet]:
    """All servers well and their journals empty."""
    await servers.restore()
    yield servers
