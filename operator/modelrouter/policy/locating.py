"""Locating the value of the top-level `model` in a request body, to replace it byte by byte.

The parsed body tells the value but not where it stands, and a nested `model` (in `metadata`, in a
tool's schema) must stay as it is. Of several top-level ones the last counts. Where the place cannot
be told cheaply, whoever replaces the value scans the body.

Three facts help with a body that is valid JSON:
- A quote within a string follows a backslash. So the seven bytes `"model"` are a string of its own
  unless a backslash precedes them, and then they are at least the end of one.
- `model` can be spelled otherwise only with escapes that begin with `\\u006`: m, o, d, e and l are
  U+006D, 6F, 64, 65 and 6C.
- Looking for one byte (memchr) is 30 times as fast as looking for several, and parsing with orjson
  is faster than looking for two strings, at least in text.
"""

from __future__ import annotations

import re

import orjson

_KEY = b'"model"'
_ESCAPE = b"\\u006"
_TAIL_LENGTH = 512
_LARGE = 8192
"""Bytes above which looking for two strings takes longer than the alternatives."""
_FEW_QUOTES = 64
_LONGEST_SPELLING = 31
"""Bytes of `model` written with five escapes, and the closing quote."""
_M, _BACKSLASH = b"m\\"

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
    # Clients that write `messages` first, as OpenAI's Python package does: it is near the end.
    length = len(body)
    key = body.rfind(_KEY, length - _TAIL_LENGTH if length > _TAIL_LENGTH else 0)
    if key >= 0 and (last := _LAST_MEMBERS.fullmatch(body, key)):
        return last.span(1)
    # Clients that write `model` first.
    key = body.find(_KEY)
    member = _MEMBER.match(body, key) if key >= 0 else None
    if member is None:
        return None
    span = member.span(1)
    if _is_only_one(body, key, span[1]) or (length > _LARGE and _counts(body, span)):
        return span
    return None


def _is_only_one(body: bytes, key: int, after: int) -> bool:
    """Whether `model` is surely spelled nowhere but at `key`, the first plain spelling.

    Then that is the top-level one, since there must be one.
    """
    if body.find(_ESCAPE, 0, key) >= 0:
        return False
    if len(body) <= _LARGE:
        return body.find(_KEY, after) < 0 and body.find(_ESCAPE, after) < 0
    # Every string begins with a quote. As long as there are few, skip what is between them.
    find = body.find
    for _ in range(_FEW_QUOTES):
        quote = find(b'"', after)
        if quote < 0:
            return True
        after = quote + 1
        if body[after] == _M or body[after] == _BACKSLASH:
            string = body[after : after + _LONGEST_SPELLING]
            if string.startswith(b'model"') or _ESCAPE in string:
                return False
    return False


def _counts(body: bytes, span: Span) -> bool:
    """Whether the value at `span` is the one that counts: with 0 there, the parsed model is 0."""
    start, end = span
    with_zero = b"%b0%b" % (body[:start], body[end:])
    return bool(orjson.loads(with_zero)["model"] == 0)
