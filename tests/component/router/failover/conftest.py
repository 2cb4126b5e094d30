"""The fleet, and one router in front of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from component.router.failover.fleet import Fleet
from component.router.rig import Rig, Router

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One after the other, also if tests run in parallel: each wants most of a core."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.xdist_group("failover"))


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
