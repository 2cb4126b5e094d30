"""Deciding where a request goes.

1. The requested model names the route, and the route's first rule that matches decides.
2. Hard constraints rule pools out: data classes, features, context window. Nothing overrides them.
3. Of the rule's targets that are left and available, one is chosen by weight with a stable hash of
   the session, the prompt's prefix or the request. Without such a target, the rule's failover
   pools take over in order.
4. The chain of attempts: the chosen pool, then the failover pools.

That a pool is unhealthy or full keeps requests away only while another pool can take them. When
everything seems unhealthy the chain stays as it would be, for Envoy knows better and answers by
itself; when what is left is full, the request is refused.

A pool that is scaled to zero is chosen like any other, which wakes it. The request then waits for
it, or goes to another pool that can take it, as the pool says. It never waits for a pool that is
only the next in the order while another one is ready.
"""

from __future__ import annotations

from collections.abc import Sequence

from modelrouter.api.autoscaling import OnColdStart
from modelrouter.api.route import StickyBy
from modelrouter.policy.compiling import (
    CompiledPool,
    CompiledRoute,
    CompiledRule,
    CompiledTarget,
    Policy,
)
from modelrouter.policy.constraints import find_obstacle, refuse, suits_every_pool
from modelrouter.policy.decision import UNSUITED, Decision, Obstacle, Rejection
from modelrouter.policy.mirroring import mirrored
from modelrouter.policy.refusal import Refusal, no_pool, overloaded, too_many_wait, unknown_model
from modelrouter.policy.rendezvous import digest, hashed, score
from modelrouter.policy.request import RequestFacts
from modelrouter.policy.spilling import spilled
from modelrouter.policy.state import PoolState, State

LONGEST_CHAIN = 16
"""Attempts at most, whatever retries and failover add up to."""

STREAM_PER_TRY_TIMEOUT_MS = 60_000
"""Time until the first byte of a stream where the route names none."""


MOST_NAMED = 3
"""Pools that a reason names; it is a header and stays short."""


def decide(request: RequestFacts, policy: Policy, state: State) -> Decision:
    """Where the request goes, or the refusal to answer with."""
    route = policy.by_model.get(request.model)
    if route is None:
        return _refused(request, "", "", "no route", (), unknown_model(request.model))
    return decide_by(route, request, state)


def decide_by(route: CompiledRoute, request: RequestFacts, state: State) -> Decision:
    """Where a request goes by this route, whichever model it asks for."""
    rule = matching_rule(request, route)

    if not rule.pools:
        reason = f"{rule.reason}; no pool exists"
        return _refused(request, route.name, rule.name, reason, (), no_pool(rule.name))

    targets: Sequence[CompiledTarget] = rule.targets
    failover: Sequence[CompiledPool] = rule.failover
    rejected: list[Rejection] = []
    if not suits_every_pool(request, rule):
        rejected = [found for pool in rule.pools if (found := find_obstacle(request, pool))]
        if len(rejected) == len(rule.pools):
            reason = _reason(rule, rejected, "")
            return _refused(
                request, route.name, rule.name, reason, rejected, refuse(request, rule.pools)
            )
        if rejected:
            names = {rejection.pool for rejection in rejected}
            targets = [target for target in targets if target.pool.name not in names]
            failover = [pool for pool in failover if pool.name not in names]

    suited = targets
    resting: list[Rejection] = []
    for pool in rule.pools:
        status = state.get(pool.name)
        if (
            status is not None
            and (status.ready == 0 or status.in_flight >= pool.concurrency)
            and (found := _find_pause(status, pool))
        ):
            resting.append(found)
    note = ""
    cold: CompiledPool | None = None
    waits = False
    if resting:
        # Those that were ruled out already stay ruled out for the graver reason.
        ruled_out = {rejection.pool for rejection in rejected}
        resting = [rejection for rejection in resting if rejection.pool not in ruled_out]
        names = {rejection.pool for rejection in resting}
        available = [target for target in targets if target.pool.name not in names]
        backup = [pool for pool in failover if pool.name not in names]
        rejected += resting
        cold = _find_cold(request, route, targets, failover, resting)
        full = cold is not None and _is_full(cold, state)
        if cold and not full and not ((available or backup) and _steps_aside(cold, targets)):
            waits = True
            failover = backup
        elif available or backup:
            targets, failover = available, backup
        elif cold:
            reason = _reason(rule, rejected, "")
            return _refused(
                request, route.name, rule.name, reason, rejected, too_many_wait()
            )._replace(wakes=cold.name)
        elif any(rejection.reason is Obstacle.SATURATED for rejection in resting):
            reason = _reason(rule, rejected, "")
            return _refused(request, route.name, rule.name, reason, rejected, overloaded())
        else:
            note = "no healthy pool"

    if waits and cold:
        chosen = cold
    elif targets:
        chosen = targets[0].pool if len(targets) == 1 else _choose(request, route, targets)
    else:
        chosen = failover[0]
        note = "failover"
    order: Sequence[CompiledPool] = [chosen, *[pool for pool in failover if pool is not chosen]]
    if rule.min_healthy_percent and len(order) > 1 and not waits:
        order = spilled(order, _key_hash(request, route), rule.min_healthy_percent, state)
        if order[0] is not chosen:
            note = f"{note}, " * bool(note) + f"{chosen.name} spills over"
    chain = make_chain(order, route.attempts_per_pool, state)
    reason = rule.reason
    if rule.arms and suited:
        placed = suited is targets and not waits
        reason = _arm_reason(rule, rejected, chosen if placed else _choose(request, route, suited))

    if request.stream:
        request_timeout = None
        idle_timeout = route.idle_timeout_ms
    else:
        request_timeout = route.request_timeout_ms
        idle_timeout = None
    return Decision(
        route.name,
        rule.name,
        tuple([pool.name for pool in order]),
        chain,
        _noted(reason, rule, rejected, note) if rejected or note else reason,
        tuple(rejected),
        request.prompt_tokens,
        None,
        request_timeout,
        per_try_timeout(route, request.stream, len(chain)),
        idle_timeout,
        _hash_key(request, route, rule, order) if rule.hashes else None,
        cold.name if cold else "",
        waits,
        None if waits or rule.mirror is None else mirrored(request, rule, order[0], state),
    )


def per_try_timeout(route: CompiledRoute, stream: bool, attempts: int) -> int:
    """Milliseconds that one of so many attempts has until the first byte of its answer."""
    if route.per_try_timeout_ms:
        return route.per_try_timeout_ms
    if stream:
        return STREAM_PER_TRY_TIMEOUT_MS
    return max(route.request_timeout_ms // attempts, 1)


def matching_rule(request: RequestFacts, route: CompiledRoute) -> CompiledRule:
    """The first rule whose conditions all hold. The last rule has none."""
    for rule in route.rules:
        for check in rule.checks:
            if not check(request):
                break
        else:
            return rule
    raise AssertionError(f"route {route.name}: the last rule has conditions")


def _find_pause(status: PoolState, pool: CompiledPool) -> Rejection | None:
    """Why the pool should not get requests just now; `None`: it may."""
    ready = status.ready
    if status.cold and pool.scaling:
        return Rejection(pool.name, Obstacle.COLD, "scaled to zero")
    if ready == 0:
        return Rejection(pool.name, Obstacle.UNHEALTHY, "no endpoint is ready")
    endpoints = status.endpoints if ready is None else ready
    limit = pool.concurrency * max(endpoints or 1, 1)
    if status.in_flight >= limit:
        detail = f"{status.in_flight} requests in flight, limit {limit}"
        return Rejection(pool.name, Obstacle.SATURATED, detail)
    return None


def _find_cold(
    request: RequestFacts,
    route: CompiledRoute,
    targets: Sequence[CompiledTarget],
    failover: Sequence[CompiledPool],
    resting: Sequence[Rejection],
) -> CompiledPool | None:
    """The cold pool that would be chosen if cold pools were ready; `None`: another one would."""
    cold = {rejection.pool for rejection in resting if rejection.reason is Obstacle.COLD}
    if not cold:
        return None
    out = {rejection.pool for rejection in resting} - cold
    targets = [target for target in targets if target.pool.name not in out]
    if targets:
        wanted = _choose(request, route, targets)
    else:
        wanted = next(pool for pool in failover if pool.name not in out)
    return wanted if wanted.name in cold else None


def _is_full(pool: CompiledPool, state: State) -> bool:
    """Whether as many requests wait for a cold pool as may."""
    assert pool.scaling is not None
    return state[pool.name].waiting >= pool.scaling.max_waiting


def _steps_aside(pool: CompiledPool, targets: Sequence[CompiledTarget]) -> bool:
    """Whether a pool that can take the request goes before this cold one."""
    assert pool.scaling is not None
    return pool.scaling.on_cold_start is OnColdStart.FAILOVER or all(
        target.pool is not pool for target in targets
    )


def _choose(
    request: RequestFacts, route: CompiledRoute, targets: Sequence[CompiledTarget]
) -> CompiledPool:
    """One of several targets by weight; requests with the same key get the same one."""
    key_hash = _key_hash(request, route)
    best = 0.0
    chosen = targets[0].pool
    for target in targets:
        value = score(target.pool.salt, key_hash, target.weight)
        if value > best:
            best = value
            chosen = target.pool
    return chosen


def _key_hash(request: RequestFacts, route: CompiledRoute) -> int:
    """The hash of what a request is placed by."""
    if route.sticky_by is StickyBy.PREFIX:
        key = request.prefix_key
    elif route.sticky_by is StickyBy.SESSION:
        # Without a session the request stands for itself.
        key = request.headers.get(route.session_header) or request.request_id
    else:
        key = request.request_id
    return hashed(key.encode("latin-1", "replace"))


def make_chain(order: Sequence[CompiledPool], attempts: int, state: State) -> tuple[str, ...]:
    """One name per attempt.

    A pool with a single endpoint gets one attempt while another pool follows: a server that just
    failed is the unlikeliest to succeed. A chain that would be too long gets fewer attempts per
    pool before it gets fewer pools, for the same reason.
    """
    if len(order) * attempts > LONGEST_CHAIN:
        attempts = max(LONGEST_CHAIN // len(order), 1)
    last = order[-1]
    chain: list[str] = []
    for pool in order:
        name = pool.name
        status = state.get(name)
        if attempts == 1 or (pool is not last and status is not None and status.endpoints == 1):
            chain.append(name)
        else:
            chain += [name] * attempts
    return tuple(chain[:LONGEST_CHAIN])


def _hash_key(
    request: RequestFacts,
    route: CompiledRoute,
    rule: CompiledRule,
    order: Sequence[CompiledPool],
) -> str | None:
    """What the first pool of the chain that places requests by a hash places this one by; if none
    does, the pool that gets a copy."""
    for pool in (*order, rule.mirror.pool) if rule.mirror else order:
        if pool.hashes_by is StickyBy.PREFIX:
            return request.prefix_key
        if pool.hashes_by is StickyBy.SESSION:
            return digest(request.headers.get(route.session_header) or request.request_id)
    return None


def _arm_reason(rule: CompiledRule, rejected: Sequence[Rejection], wanted: CompiledPool) -> str:
    """The reason with the arm of a canary that the request takes part in.

    One that either arm's pool may never get is left out: the other arm would have all of its kind,
    and seem slower or dearer for it.
    """
    if any(found.pool in rule.arms and found.reason in UNSUITED for found in rejected):
        return rule.reason
    return rule.arms.get(wanted.name, rule.reason)


def _reason(rule: CompiledRule, rejected: Sequence[Rejection], note: str) -> str:
    """The rule and why its targets were passed over; failover pools are left to `rejected`."""
    return _noted(rule.reason, rule, rejected, note)


def _noted(reason: str, rule: CompiledRule, rejected: Sequence[Rejection], note: str) -> str:
    parts = [note] if note else []
    passed_over = [r for r in rejected if r.pool in rule.target_names]
    parts += [f"{r.pool} {r.reason.value}" for r in passed_over[:MOST_NAMED]]
    if len(passed_over) > MOST_NAMED:
        parts.append(f"{len(passed_over) - MOST_NAMED} more")
    return f"{reason}; {', '.join(parts)}" if parts else reason


def _refused(
    request: RequestFacts,
    route: str,
    rule: str,
    reason: str,
    rejected: Sequence[Rejection],
    refusal: Refusal,
) -> Decision:
    return Decision(route, rule, (), (), reason, tuple(rejected), request.prompt_tokens, refusal)
