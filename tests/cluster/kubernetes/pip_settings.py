"""The machine's own package index, made known to an image build.

The Dockerfile names no index: a plain build uses the public one. Where a machine has another (a
mirror, a folder of wheels, a certificate authority), its pip knows, and a build gets the same as a
file.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

# Settings about places, and how to reach them. Others (such as `user`) are not for an image.
_KEPT = (
    "index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "cert", "client-cert",
    "proxy", "default-timeout", "timeout", "retries",
)  # fmt: skip
_FOLDERS = ("find-links", "cert", "client-cert")


def pip_settings() -> dict[str, str]:
    """What `pip config` and the environment say, the environment above all."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    said = subprocess.run(command, check=True, capture_output=True, text=True)
    return parse(said.stdout)


def parse(listed: str) -> dict[str, str]:
    """Settings by name out of the lines `global.index-url='https://…'` of `pip config list`."""
    ranked: dict[str, tuple[int, str]] = {}
    for line in listed.splitlines():
        name, equals, quoted = line.partition("=")
        section, dot, key = name.rpartition(".")
        rank = {"global": 0, "install": 1, ":env:": 2}.get(section, -1)
        if not equals or not dot or rank < 0 or key not in _KEPT:
            continue
        if rank >= ranked.get(key, (-1, ""))[0]:
            ranked[key] = (rank, str(ast.literal_eval(quoted)))
    return {key: value for key, (_, value) in ranked.items()}


def as_file(settings: Mapping[str, str]) -> str:
    """The settings as a `pip.conf`."""
    lines = ["[global]"]
    for key, value in sorted(settings.items()):
        values = value.split()
        # Several values go on lines of their own.
        lines.append(f"{key} = {value}" if len(values) < 2 else f"{key} =")
        lines += [f"    {each}" for each in values] if len(values) > 1 else []
    return "\n".join(lines) + "\n"


def folders(settings: Mapping[str, str]) -> list[Path]:
    """Folders of this machine that the settings name, for a build to mount."""
    found: list[Path] = []
    for key in _FOLDERS:
        for value in settings.get(key, "").split():
            path = Path(value.removeprefix("file://"))
            if path.is_absolute() and path.exists():
                found.append(path if path.is_dir() else path.parent)
    return sorted(set(found))
