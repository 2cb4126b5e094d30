"""Which requests are copied to another pool.

A copy needs no less than the request itself: the pool it goes to has to be allowed to see its data,
able to do what it asks for, and have room for its tokens. That a pool is down keeps no copy away,
its failures are what a mirror is there to show; but no copy wakes a pool at zero, and none goes
beyond the pool's limit of concurrent requests.

Which of the requests are copied is told by a hash of the request's id, apart from the hash that
places it: a copied tenth has the same mixture of pools as all.
"""

from __future__ import annotations

from modelrouter.policy.compiling import CompiledMirror, CompiledPool, CompiledRule
from modelrouter.policy.constraints import find_obstacle
from modelrouter.policy.decision import Mirroring
from modelrouter.policy.rendezvous import fraction, hashed
from modelrouter.policy.request import RequestFacts
from modelrouter.policy.state import State


def may_mirror(request: RequestFacts, rule: CompiledRule, state: State) -> Mirroring | None:
    """What happens to copies of requests like this one, of whatever id; None: there are none."""
    mirror = rule.mirror
    if mirror is None or find_obstacle(request, mirror.pool) or _is_closed(mirror.pool, state):
        return None
    evaluator = mirror.evaluator
    evaluates = evaluator is not None and request.data_classes <= evaluator.data_classes
    return Mirroring(mirror.pool.name, mirror.compare, mirror.compare and evaluates)


def mirrored(
    request: RequestFacts, rule: CompiledRule, chosen: CompiledPool, state: State
) -> Mirroring | None:
    """What happens to a copy of this request, which goes to `chosen` first; None: there is none.

    A pool gets no copies of what it answers anyway.
    """
    mirror = rule.mirror
    if mirror is None or chosen is mirror.pool or not _is_sampled(mirror, request.request_id):
        return None
    return may_mirror(request, rule, state)


def _is_sampled(mirror: CompiledMirror, request_id: str) -> bool:
    if mirror.percent >= 100:
        return True
    key = hashed(request_id.encode("latin-1", "replace"))
    return 100 * fraction(mirror.salt, key) < mirror.percent


def _is_closed(pool: CompiledPool, state: State) -> bool:
    status = state.get(pool.name)
    if status is None:
        return False
    endpoints = status.endpoints if status.ready is None else status.ready
    return status.cold or status.in_flight >= pool.concurrency * max(endpoints or 1, 1)
