"""Protobuf's wire format, for putting big messages together from parts already serialised.

A route table of 4,000 entries is made of bytes kept from the last time; as a message tree it
would have to be built and serialised again, 40 ms and more in one piece.
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterable


def varint(value: int) -> bytes:
    """A number in groups of seven bits."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, *parts: bytes) -> bytes:
    """A field that holds a string, bytes or a message, given in parts."""
    return b"".join((varint(number << 3 | 2), varint(sum(map(len, parts))), *parts))


def opening(number: int, length: int) -> bytes:
    """What stands before the content of a field of this length."""
    return varint(number << 3 | 2) + varint(length)


def map_entry(number: int, key: str, *value: bytes) -> bytes:
    """One entry of a map from strings to messages or strings."""
    return field(number, field(1, key.encode()), field(2, *value))


def total(parts: Iterable[bytes]) -> int:
    """Length of all parts together."""
    return sum(map(len, parts))
