"""What the chart holds of other files: the CRDs, the README's table and the schema's descriptions.

`make chart` writes them; `--check` says what is out of date instead, and the tests run it.
The comments of values.yaml are the only place where a value is explained.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

CHART = Path(__file__).parent / "model-router"
CRDS = Path(__file__).parent.parent / "crds"
_TABLE_START = "<!-- values: made from values.yaml by `make chart` -->"
_TABLE_END = "<!-- end of values -->"
_KEY = re.compile(r"^( *)([A-Za-z][A-Za-z0-9]*):")
_COMMENT = re.compile(r"^( *)# ?(.*)$")


class Value(NamedTuple):
    """A value that has a comment of its own."""

    path: tuple[str, ...]
    explanation: str
    default: Any


def explained_values(text: str) -> Iterator[Value]:
    """The values of a values.yaml that have a comment, in its order."""
    defaults = yaml.safe_load(text)
    parents: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in text.splitlines():
        if match := _COMMENT.match(line):
            comment.append(match[2])
            continue
        if match := _KEY.match(line):
            indent = len(match[1])
            parents = [parent for parent in parents if parent[0] < indent]
            parents.append((indent, match[2]))
            if comment:
                path = tuple(name for _, name in parents)
                default = defaults
                for name in path:
                    default = default[name]
                yield Value(path, " ".join(comment), default)
        comment = []


def _default_text(value: Value, values: list[Value]) -> str:
    if any(other.path[:-1] == value.path for other in values):
        return ""  # its parts have lines of their own
    return f"`{json.dumps(value.default)}`"


def readme(text: str, values: list[Value]) -> str:
    """The README with the table of values between its marks written anew."""
    rows = [
        f"| `{'.'.join(value.path)}` | {_default_text(value, values)} | {value.explanation} |"
        for value in values
    ]
    table = "\n".join(["| value | default | meaning |", "| --- | --- | --- |", *rows])
    before, rest = text.split(_TABLE_START)
    after = rest.split(_TABLE_END)[1]
    return f"{before}{_TABLE_START}\n{table}\n{_TABLE_END}{after}"


def schema(text: str, values: list[Value]) -> str:
    """The schema with each value's explanation as its description."""
    document = json.loads(text)
    for value in values:
        node = document
        for name in value.path:
            node = node["properties"][name]
        rest = {key: content for key, content in node.items() if key != "description"}
        node.clear()
        node.update({"description": value.explanation, **rest})
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def generated() -> dict[Path, str]:
    """Every generated file of the chart with the text it should have."""
    values = list(explained_values((CHART / "values.yaml").read_text()))
    files = {
        CHART / "README.md": readme((CHART / "README.md").read_text(), values),
        CHART / "values.schema.json": schema((CHART / "values.schema.json").read_text(), values),
    }
    for crd in CRDS.glob("*.yaml"):
        files[CHART / "files" / "crds" / crd.name] = crd.read_text()
    return files


def main() -> int:
    """Write the files, or with `--check` say which are not what they should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if out of date")
    check = parser.parse_args().check
    files = generated()
    stale = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    surplus = sorted(set((CHART / "files" / "crds").glob("*")) - set(files))
    if check:
        for path in [*stale, *surplus]:
            print(f"{path.relative_to(CHART.parent.parent)} is out of date: run make chart")
        return 1 if stale or surplus else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path])
    for path in surplus:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
