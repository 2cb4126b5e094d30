"""The demonstration's own copy of the examples, which it may edit."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

_LOCAL_ADDRESS = re.compile(r"127\.0\.0\.1:(\d+)")


class ExamplesNotFoundError(Exception):
    """The examples are not where they were looked for."""


def find_examples(given: Path | None = None) -> Path:
    """The quickstart among the examples: of this checkout, or below the current directory."""
    candidates = [given] if given else [Path(__file__).parents[4] / "examples", Path("examples")]
    for directory in candidates:
        for quickstart in (directory / "quickstart", directory):
            if (quickstart / "route.yaml").is_file():
                return quickstart
    raise ExamplesNotFoundError(
        f"no examples in {' or '.join(map(str, candidates))}; name their directory with --examples"
    )


def copy_manifests(source: Path, target: Path, choose_port: Callable[[], int]) -> None:
    """Copy manifests, with every local port replaced by a free one.

    Whatever else runs on this machine, the demonstration neither disturbs it nor talks to it.
    """
    shutil.copytree(source, target)
    ports: dict[str, str] = {}

    def fresh(match: re.Match[str]) -> str:
        port = ports.setdefault(match[1], str(choose_port()))
        return f"127.0.0.1:{port}"

    for file in sorted(target.glob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        file.write_text(_LOCAL_ADDRESS.sub(fresh, text), encoding="utf-8")


def change_weights(file: Path, weights: dict[str, int]) -> None:
    """Edit weights in a manifest as a person would: in place, leaving all else as it is."""
    text = file.read_text(encoding="utf-8")
    for pool, weight in weights.items():
        pattern = re.compile(rf"(\{{pool: {re.escape(pool)}, weight: )\d+")
        text, found = pattern.subn(rf"\g<1>{weight}", text)
        if not found:
            raise ValueError(f"{file}: no target with pool {pool} and a weight")
    file.write_text(text, encoding="utf-8")
