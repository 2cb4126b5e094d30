"""One router for the tests of a module; each test brings its own configuration."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from component.holding.rig import Pair
from component.router.rig import Rig
from component.router.simulators import Simulator


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with Pair() as running:
        yield running


@pytest.fixture
def own_pair() -> Iterator[Pair]:
    """For a test that breaks it."""
    with Pair() as running:
        yield running


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Simulator]]:
    """Model servers `late`, which no pool has at first, and `other`."""
    with Rig(tmp_path_factory.mktemp("servers")) as rig:
        yield rig.simulators("late", "other", options=("--served-model-name", "acme/{name}"))


@pytest.fixture
async def late(servers: list[Simulator]) -> AsyncIterator[Simulator]:
    await servers[0].forget()
    yield servers[0]
    await servers[0].fault()


@pytest.fixture
async def other(servers: list[Simulator]) -> AsyncIterator[Simulator]:
    await servers[1].forget()
    yield servers[1]
    await servers[1].fault()
