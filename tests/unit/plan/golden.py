"""Cases of which each has a folder with what goes in and what must come out."""

from pathlib import Path
from typing import Any

import pytest
import yaml

HERE = Path(__file__).parent


def cases(group: str) -> list[Path]:
    """The folders of a group of cases."""
    return sorted(path for path in (HERE / group).iterdir() if path.is_dir())


def dump(documents: list[Any]) -> str:
    """Documents as they stand in expected files."""
    return yaml.safe_dump_all(documents, sort_keys=False, width=100, allow_unicode=True)


def check(case: Path, actual: str, request: pytest.FixtureRequest) -> None:
    """What came out is what is expected; with `--rewrite-golden` it becomes that."""
    expected = case / "out.yaml"
    if request.config.getoption("--rewrite-golden"):
        expected.write_text(actual)
    assert actual == expected.read_text()
