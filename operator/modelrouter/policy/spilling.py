"""Spilling over: a pool with too few healthy endpoints gives a share of its requests away.

Of a pool with 30 % of its endpoints healthy, where 50 % have to be, the next pool takes two
requests in five, so that those that are left get no more each than half of the pool would. Which
requests they are is told by a hash of what places them: while a pool gets worse, more leave it and
none come back, and a session leaves it once.
"""

from __future__ import annotations

from collections.abc import Sequence

from modelrouter.policy.compiling import CompiledPool
from modelrouter.policy.rendezvous import fraction
from modelrouter.policy.state import PoolState, State

_SALT = 0x9E3779B9
"""Which requests spill over has nothing to do with which of the targets they go to."""


def shortfall(status: PoolState | None, min_percent: int) -> float:
    """The share of its requests that a pool gives away, 0 to 1."""
    if status is None or not min_percent or status.ready is None or status.endpoints is None:
        return 0.0
    total = max(status.endpoints + status.absent, 1)
    return max(1.0 - 100.0 * status.ready / (total * min_percent), 0.0)


def spilled(
    order: Sequence[CompiledPool], key: int, min_percent: int, state: State
) -> Sequence[CompiledPool]:
    """The pools with those first that take the request; the others stay for when they fail.

    `key` is the hash of what places the request. Where all pools fall short, some requests find
    none that takes them, and stay where they were.
    """
    for place, pool in enumerate(order):
        share = shortfall(state.get(pool.name), min_percent)
        if not share or fraction(pool.salt ^ _SALT, key) >= share:
            return [*order[place:], *order[:place]] if place else order
    return order
