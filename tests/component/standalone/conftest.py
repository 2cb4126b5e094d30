"""Manifests for a router of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from component.standalone.desk import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Manifests of a route with two pools: everything goes to the first."""
    desk = Desk(tmp_path / "manifests")
    desk.folder.mkdir()
    desk.write_pools()
    desk.write()
    return desk
