"""One Envoy for the tests of a module; each test brings its own configuration."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from component.envoy.rig import Rig


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    # Not pytest's directory: paths of Unix sockets may have 107 bytes at most.
    directory = Path(tempfile.mkdtemp(prefix="mr-"))
    try:
        with Rig(directory).running() as running:
            yield running
    finally:
        shutil.rmtree(directory)
