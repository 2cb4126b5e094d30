"""The fleet and a router in front of it, for the tests of a module."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from component.router.failover.fleet import Fleet
from component.router.rig import Rig, Router


@pytest.fixture(scope="module")
def servers(rig: Rig) -> Fleet:
    return Fleet(rig)


@pytest.fixture(scope="module")
def router(rig: Rig, servers: Fleet) -> Router:
    """One router for the module; tests bring their own manifests."""
    servers.used = servers.manifests()
    return rig.router(*servers.used)


@pytest_asyncio.fixture
async def fleet(servers: Fleet, router: Router) -> AsyncIterator[Fleet]:
    """All servers well and their journals empty."""
    await servers.restore()
    yield servers
