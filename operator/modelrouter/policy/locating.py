"""Locating the value of the top-level `model` in a request body, to replace it byte by byte.

The parsed body tells the value but not where it stands, and a nested `model` (in `metadata`, in a
tool's schema) must stay as it is. Scanning all of a large body costs more than parsing it, so only
the cheap cases are solved here; whoever replaces the value scans the body in the others.

Two facts make it cheap in bodies known to be valid JSON. A quote within a string is preceded by a
backslash, so the seven bytes `"model"` are a whole string, unless a backslash precedes them. And
`model` can only be spelled otherwise with escapes, each of which begins with `\\u006` (m, o, d, e
and l are U+006D, 6F, 64, 65 and 6C).
"""

from __future__ import annotations

import re

_KEY = b'"model"'
_ESCAPE = b"\\u006"
_TAIL_LENGTH = 512
_MANY_QUOTES = 64
_LONGEST_SPELLING = 31  # Five escapes of six bytes and the closing quote.
_VALUE = re.compile(rb'"model"[ \t\r\n]*:[ \t\r\n]*("(?:[^"\\]|\\.)*")', re.DOTALL)
_BEFORE_KEY = b",{ \t\r\n"

Span = tuple[int, int]
"""Offsets of the first byte and of the byte after the last one."""


def locate_model(body: bytes) -> Span | None:
    """Where the value of the top-level `model` stands, quotes included.

    The body is valid JSON, an object with a top-level string `model`; of several, the last one
    counts. `None`: not found cheaply.
    """
    length = len(body)
    key = body.rfind(_KEY, length - _TAIL_LENGTH if length > _TAIL_LENGTH else 0)
    if key < 0 or not _is_last_at_top_level(body, key):
        key = body.find(_KEY)
        if key < 0 or body.find(_ESCAPE, 0, key) >= 0 or _may_come_again(body, key + len(_KEY)):
            return None
    value = _VALUE.match(body, key)
    return None if value is None else value.span(1)


def _is_last_at_top_level(body: bytes, key: int) -> bool:
    """Whether the string at `key`, the last of its kind, is the top-level key that counts.

    After it, one bracket is closed and none is opened: that is the end of the body's object. And
    with no backslash there, no escaped spelling of it follows. `False`: perhaps not.
    """
    rest = body[key:]
    return (
        rest.count(b"}") == 1
        and b"{" not in rest
        and b"]" not in rest
        and b"[" not in rest
        and b"\\" not in rest
        and body[key - 1] in _BEFORE_KEY
    )


def _may_come_again(body: bytes, start: int) -> bool:
    """Whether another `model` may follow, in whatever spelling.

    Every string begins with a quote, and looking for a single byte is some 30 times as fast as
    looking for several, so as long as there are few quotes the text between them is skipped.
    """
    if len(body) - start > 64 * _MANY_QUOTES:
        for _ in range(_MANY_QUOTES):
            quote = body.find(b'"', start)
            if quote < 0:
                return False
            start = quote + 1
            string = body[start : start + _LONGEST_SPELLING]
            if string.startswith(b'model"') or _ESCAPE in string:
                return True
        start -= 1
    return body.find(_KEY, start) >= 0 or body.find(_ESCAPE, start) >= 0
