"""Choosing by weight with a stable hash: weighted rendezvous hashing.

Each candidate scores -weight / ln(h), where h in (0, 1) is a hash of the key and the candidate, and
the highest score wins. Candidates win in proportion to their weights; the same key always chooses
the same candidate; and because a candidate's score depends on nothing but itself, a changed weight
moves keys only to or from that candidate, and one that drops out moves only its own keys.

Source: C. Schindelhauer and G. Schomaker, "Weighted Distributed Hash Tables", SPAA 2005, in the
form that J. Resch gave it in "New Hashing Algorithms for Data Storage", SNIA SDC 2015.

The hash is the CRC-32 of the key, xored with the candidate's salt and mixed by the finalizer of
MurmurHash3 (A. Appleby, public domain), which makes the candidates' hashes independent. It is
chosen because Envoy's Lua computes the same in a fraction of a microsecond (`decide.lua`): requests
that share a decision are placed there, and have to be placed alike.
"""

from __future__ import annotations

from hashlib import blake2b
from math import exp, log
from zlib import crc32

_MASK = 0xFFFFFFFF
_SCALE = 2.0**-32


def salt(name: str) -> int:
    """What tells a candidate's hash from the others': 32 bits made of its name."""
    return int.from_bytes(blake2b(name.encode(), digest_size=4).digest(), "big")


def hashed(key: bytes) -> int:
    """The part of the hash that all candidates share: 32 bits made of the key."""
    return crc32(key)


def score(candidate: int, key: int, weight: int) -> float:
    """A candidate's score, from its salt and the hashed key; larger with a larger weight."""
    mixed = candidate ^ key
    mixed = (mixed ^ mixed >> 16) * 0x85EBCA6B & _MASK
    mixed = (mixed ^ mixed >> 13) * 0xC2B2AE35 & _MASK
    # Half a step more, so that the fraction is never 0, nor 1.
    return -weight / log(((mixed ^ mixed >> 16) + 0.5) * _SCALE)


def fraction(candidate: int, key: int) -> float:
    """Where in (0, 1) the hash of the key and the candidate lies."""
    return exp(-1 / score(candidate, key, 1))


def digest(text: str) -> str:
    """A stable hash of a text as 16 hexadecimal digits."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
