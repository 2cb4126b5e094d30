"""Virtual environments for the Python proxies, apart from the project's own and kept for later."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FASTAPI = ("fastapi==0.165.0", "uvicorn[standard]==0.54.0", "httpx==0.28.1", "aiohttp==3.14.5")
LITELLM = ("litellm[proxy]==1.106.2",)
INSTALL_SECONDS = 600.0


class EnvironmentMissingError(Exception):
    """The environment could not be made; the message is one line that says why."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment with the packages that were asked for."""

    directory: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.program("python")

    def program(self, name: str) -> Path:
        """A program in it."""
        return self.directory / "bin" / name


def environment(name: str, packages: Sequence[str]) -> Environment:
    """The environment of this name, made anew if its packages are others than wanted."""
    place = Environment(_cache() / "bench-venv" / name)
    mark = place.directory / "packages.txt"
    wanted = "\n".join((sys.version, *packages))
    if mark.exists() and mark.read_text() == wanted:
        return place
    print(f"making a virtual environment for {name} in {place.directory}", file=sys.stderr)
    shutil.rmtree(place.directory, ignore_errors=True)
    steps = (
        [sys.executable, "-m", "venv", str(place.directory)],
        [str(place.python), "-m", "pip", "install", "-q", *packages],
    )
    for step in steps:
        try:
            done = subprocess.run(
                step, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise EnvironmentMissingError(f"not installed in {INSTALL_SECONDS:.0f} s") from None
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no reason given"]
            raise EnvironmentMissingError(lines[-1])
    mark.write_text(wanted)
    return place


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "model-router-operator"
