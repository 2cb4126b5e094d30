"""Choosing by weight with a stable hash: weighted rendezvous hashing.

Each candidate scores -weight / ln(h), where h in (0, 1) is a hash of the key and the candidate, and
the highest score wins. Candidates win in proportion to their weights; the same key always chooses
the same candidate; and because a candidate's score depends on nothing but itself, a changed weight
moves keys only to or from that candidate, and one that drops out moves only its own keys.

Source: C. Schindelhauer and G. Schomaker, "Weighted Distributed Hash Tables", SPAA 2005, in the
form that J. Resch gave it in "New Hashing Algorithms for Data Storage", SNIA SDC 2015.
"""

from __future__ import annotations

from hashlib import blake2b
from math import log

_BITS = 52
"""Bits of the hash in use: so many and a half are exact in a float, so h is never 0 or 1."""
_SHIFT = 64 - _BITS
_SCALE = 2.0**-_BITS


def salt(name: str) -> blake2b:
    """A candidate's own hash function, begun with its name; made once, copied for each key."""
    return blake2b(b"%d:%s" % (len(name), name.encode()), digest_size=8)


def score(salted: blake2b, key: bytes, weight: int) -> float:
    """A candidate's score for a key; positive, larger with a larger weight."""
    hashing = salted.copy()
    hashing.update(key)
    fraction = ((int.from_bytes(hashing.digest(), "big") >> _SHIFT) + 0.5) * _SCALE
    return -weight / log(fraction)


def digest(text: str) -> str:
    """A stable hash of a text as 16 hexadecimal digits."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
