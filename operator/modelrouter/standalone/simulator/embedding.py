"""Embeddings without a model: a text always has the same vector, and every vector length 1."""

from __future__ import annotations

import struct
from base64 import b64encode
from hashlib import shake_128
from math import sqrt


def unit_vector(data: bytes, *, dimensions: int, seed: int) -> tuple[float, ...]:
    """The vector of a text, as 32-bit floats."""
    raw = shake_128(b"%d\0" % seed + data).digest(2 * dimensions)
    values = struct.unpack(f"<{dimensions}h", raw)
    length = sqrt(sum(value * value for value in values)) or 1.0
    # Through 32 bits, so that the `float` and the `base64` encoding say the same numbers.
    packed = struct.pack(f"<{dimensions}f", *(value / length for value in values))
    return struct.unpack(f"<{dimensions}f", packed)


def base64_floats(vector: tuple[float, ...]) -> str:
    """Little-endian 32-bit floats in base64, as the API's `encoding_format: base64`."""
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
