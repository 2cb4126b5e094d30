"""A short string that a regular expression matches."""

from __future__ import annotations

import importlib
import re
from typing import Any

# The parse tree of the standard library has no public name. If it moves, patterns get no example
# and the caller falls back to a plain string.
try:
    _parser: Any = importlib.import_module("re._parser")
except ImportError:  # pragma: no cover
    _parser = None

_CATEGORIES = {
    "CATEGORY_DIGIT": "0",
    "CATEGORY_NOT_DIGIT": "a",
    "CATEGORY_SPACE": " ",
    "CATEGORY_NOT_SPACE": "a",
    "CATEGORY_WORD": "a",
    "CATEGORY_NOT_WORD": "-",
}
_CANDIDATES = "aA0 -_.,:/@#\n\u00e9"


def regex_example(pattern: str) -> str | None:
    """A string in which the pattern is found, with few repetitions; none if that is too hard."""
    if _parser is None:
        return None
    try:
        text = _sequence(_parser.parse(pattern), [])
        return text if re.search(pattern, text) else None
    except (re.error, ValueError, RecursionError):
        return None


def _sequence(nodes: Any, groups: list[str]) -> str:
    return "".join(_node(str(op), argument, groups) for op, argument in nodes)


def _node(op: str, argument: Any, groups: list[str]) -> str:
    match op:
        case "LITERAL":
            return chr(argument)
        case "ANY":
            return "a"
        case "NOT_LITERAL":
            return next(c for c in _CANDIDATES if ord(c) != argument)
        case "IN":
            return _one_of(argument)
        case "BRANCH":
            return _sequence(argument[1][0], groups)
        case "SUBPATTERN":
            text = _sequence(argument[3], groups)
            groups.append(text)
            return text
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            low, _, body = argument
            return _sequence(body, groups) * int(low)
        case "GROUPREF":
            return groups[int(argument) - 1]
        case "AT" | "ASSERT_NOT":
            return ""
        case _:
            raise ValueError(f"no example for {op}")


def _one_of(members: Any) -> str:
    first = str(members[0][0])
    if first == "NEGATE":
        taken = "".join(_escaped(str(op), argument) for op, argument in members[1:])
        return next(c for c in _CANDIDATES if not re.match(f"[{taken}]", c))
    return _member(first, members[0][1])


def _member(op: str, argument: Any) -> str:
    if op == "LITERAL":
        return chr(argument)
    if op == "RANGE":
        return chr(argument[0])
    return _CATEGORIES[str(argument)]


def _escaped(op: str, argument: Any) -> str:
    if op == "LITERAL":
        return re.escape(chr(argument))
    if op == "RANGE":
        return f"{re.escape(chr(argument[0]))}-{re.escape(chr(argument[1]))}"
    category = str(argument)
    letter = {"DIGIT": "d", "SPACE": "s", "WORD": "w"}[category.rsplit("_", 1)[1]]
    return "\\" + (letter.upper() if "NOT" in category else letter)
