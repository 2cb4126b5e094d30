"""Routers and simulated servers for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from component.router.rig import Rig


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """What is started here lives as long as the module's tests."""
    with Rig(tmp_path_factory.mktemp("rig")) as running:
        yield running


@pytest.fixture
def own_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """What is started here lives as long as one test, which may break it."""
    with Rig(tmp_path_factory.mktemp("rig")) as running:
        yield running
