"""Locating the value of the top-level `model` in a request body, to replace it byte by byte.

The parsed body tells the value but not where it stands, and a nested `model` (in `metadata`, in a
tool's schema) must stay as it is. Of several top-level ones the last counts. Where the place cannot
be told cheaply, whoever replaces the value scans the body.

Two facts help with a body that is valid JSON:
- A quote within a string follows a backslash. So the seven bytes `"model"` are a string of its own
  unless a backslash precedes them, and then they are at least the end of one.
- `model` can be spelled otherwise only with escapes that begin with `\\u006`: m, o, d, e and l are
  U+006D, 6F, 64, 65 and 6C.
"""

from __future__ import annotations

import re

import orjson

_KEY = b'"model"'
_ESCAPE = b"\\u006"
_TAIL_LENGTH = 512
_LARGE = 8192
"""Bytes above which parsing once more is cheaper than the scan that follows otherwise."""

_LAST_MEMBERS = re.compile(
    rb'(?<=[,{ \t\r\n])"model"[ \t\r\n]*:[ \t\r\n]*("[^"\\{}\[\]]*")[^\\{}\[\]]*\}[ \t\r\n]*'
)
"""The key at the top level with what follows it up to the end of the body: after it no bracket
opens and only the body's own closes, and without backslashes no other spelling of it comes."""
_MEMBER = re.compile(rb'"model"[ \t\r\n]*:[ \t\r\n]*("(?:[^"\\]|\\.){0,1536}")')
"""The key with a value of any length that a model's name has, so that a huge one costs nothing."""

Span = tuple[int, int]
"""Offsets of the first byte and of the byte after the last one."""


def locate_model(body: bytes) -> Span | None:
    """Where the value of the top-level `model` stands, quotes included; `None`: hard to say.

    The body is a valid JSON object with a top-level `model` that is a string.
    """
    # Clients that write `messages` first: it is near the end.
    length = len(body)
    key = body.rfind(_KEY, length - _TAIL_LENGTH if length > _TAIL_LENGTH else 0)
    if key >= 0 and (last := _LAST_MEMBERS.fullmatch(body, key)):
        return last.span(1)
    # Clients that write `model` first, as OpenAI's Python package does.
    key = body.find(_KEY)
    member = _MEMBER.match(body, key) if key >= 0 else None
    if member is None:
        return None
    span = member.span(1)
    # Spelled nowhere else, it is the top-level one, since there must be one. `rfind` compares the
    # last bytes first, and those are rarer in texts than quotes and backslashes.
    if body.rfind(_KEY) == key and body.rfind(_ESCAPE) < 0:
        return span
    return span if length > _LARGE and _counts(body, span) else None


def _counts(body: bytes, span: Span) -> bool:
    """Whether the value at `span` is the one that counts: with 0 there, the parsed model is 0."""
    start, end = span
    with_zero = b"%b0%b" % (body[:start], body[end:])
    return bool(orjson.loads(with_zero)["model"] == 0)
