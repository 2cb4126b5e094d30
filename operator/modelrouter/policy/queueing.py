"""How much of a pool's traffic each endpoint gets, by the queues that the endpoints tell of.

A request that comes to an endpoint with W requests waiting has those before it, and one with a full
key-value cache will not admit it soon: an endpoint counts as good as `(1 - cache) / (1 + W)`, in
relation to the best one. What is in between two tellings, Envoy sees by itself: weights come on top
of the requests that it has under way at each endpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

HEAVIEST = 64
LEAST_ROOM = 0.05
"""A cache counts as no fuller than this leaves: the engine frees blocks when it has to."""


class Queue(NamedTuple):
    """What a server tells of itself."""

    waiting: float
    """Requests that have arrived and are not worked on yet."""
    cache: float
    """Used share of its key-value cache, 0 to 1."""


def weights(queues: Mapping[str, Queue | None]) -> dict[str, int]:
    """Weights of endpoints, 1 to `HEAVIEST`; empty: all alike, also when nobody tells anything.

    An endpoint that tells nothing counts as the best one: what it does not say must not keep
    requests away. Weights are powers of two, so that small changes change nothing.
    """
    goodness = {
        name: max(1.0 - queue.cache, LEAST_ROOM) / (1.0 + max(queue.waiting, 0.0))
        for name, queue in queues.items()
        if queue is not None
    }
    if not goodness:
        return {}
    best = max(goodness.values())
    found = {name: _power(goodness.get(name, best) / best) for name in queues}
    return found if len(set(found.values())) > 1 else {}


def _power(share: float) -> int:
    weight = HEAVIEST
    while weight > 1 and share < weight / HEAVIEST * 0.75:
        weight //= 2
    return weight
