"""JSON documents of megabytes, read in slices.

One call of a parser keeps the interpreter, and with it all decisions, for the 10 ms that a thousand
routes take. So what is large is read member by member, down to the entries of its sections.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NoReturn

_SECTIONS = 2
"""Objects are read member by member down to this depth: the document and its sections."""
_SPACE = re.compile(r"[ \t\n\r]*")


def read_slices(text: str, breathe: Callable[[], None]) -> Any:
    """The document; `breathe` is called after each small part. Of equal keys the last one counts.

    Raises `json.JSONDecodeError` for what is no JSON.
    """
    value, end = _value(text, _skip(text, 0), _SECTIONS, breathe)
    if (end := _skip(text, end)) != len(text):
        raise json.JSONDecodeError("unexpected content after document", text, end)
    return value


def _refuse(constant: str) -> NoReturn:
    raise json.JSONDecodeError(f"{constant} is no JSON", constant, 0)


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _value(text: str, at: int, depth: int, breathe: Callable[[], None]) -> tuple[Any, int]:
    if depth and text.startswith("{", at):
        return _members(text, at, depth, breathe)
    try:
        value, end = _DECODER.raw_decode(text, at)
    except json.JSONDecodeError:
        raise
    except (RecursionError, ValueError):
        raise json.JSONDecodeError("nested too deeply, or a number too long", text, at) from None
    breathe()
    return value, end


def _members(text: str, at: int, depth: int, breathe: Callable[[], None]) -> tuple[Any, int]:
    found: dict[str, Any] = {}
    at = _skip(text, at + 1)
    if text.startswith("}", at):
        return found, at + 1
    while True:
        if not text.startswith('"', at):
            raise json.JSONDecodeError("a key is missing", text, at)
        key, at = _DECODER.raw_decode(text, at)
        at = _after(text, at, ":")
        found[key], at = _value(text, at, depth - 1, breathe)
        at = _skip(text, at)
        if text.startswith("}", at):
            return found, at + 1
        at = _after(text, at, ",")


def _after(text: str, at: int, mark: str) -> int:
    """Where the next thing begins behind this mark."""
    at = _skip(text, at)
    if not text.startswith(mark, at):
        raise json.JSONDecodeError(f"{mark!r} is missing", text, at)
    return _skip(text, at + 1)
