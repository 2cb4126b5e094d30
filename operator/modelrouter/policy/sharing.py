"""Decisions that requests share.

Most requests differ in nothing that their route looks at. The router need not be asked about each
of those: a decision comes with the conditions under which it holds for others as well, and Envoy
applies it to them for a moment. What is shared is the decision's alternatives, not its outcome:
each request is still placed by its own key and the weights (`rendezvous`).
"""

from __future__ import annotations

from typing import NamedTuple

from modelrouter.api.route import StickyBy
from modelrouter.policy.compiling import (
    UNLIMITED,
    CompiledRoute,
    CompiledRule,
    Policy,
    missing,
)
from modelrouter.policy.deciding import make_chain, matching_rule, per_try_timeout
from modelrouter.policy.decision import Decision, Mirroring
from modelrouter.policy.mirroring import may_mirror
from modelrouter.policy.request import DATA_CLASS_HEADER, RequestFacts
from modelrouter.policy.spilling import shortfall
from modelrouter.policy.state import State


class Alternative(NamedTuple):
    """One of the pools that share the requests, chosen for a request."""

    decision: Decision
    weight: int
    salt: int
    mirrors: bool = False
    """Whether its requests are copied, too: not those that go where copies go."""


class SharedMirror(NamedTuple):
    """Copies of the requests that share a decision. `mirroring._is_sampled` tells which."""

    mirroring: Mirroring
    percent: int
    salt: int


class Shared(NamedTuple):
    """A decision for all requests for the same path and model, equally streamed or not, that

    - have equal values in the headers of `vary`,
    - need none of the features that matter, and hold no audio,
    - and have at most `most_tokens` tokens of prompt and asked-for answer, where the prompt counts
      for at most one token per two bytes of the body.
    """

    alternatives: tuple[Alternative, ...]
    key_header: str
    """The header by whose value requests are placed; empty, or a request without it: its id."""
    vary: tuple[str, ...]
    features: frozenset[str]
    """Those that matter: requests that need one of them might be decided otherwise."""
    most_tokens: int
    mirror: SharedMirror | None = None


def shared(
    request: RequestFacts, decision: Decision, policy: Policy, state: State
) -> Shared | None:
    """What requests like this one share, if anything. `decision` is the one for this request."""
    if decision.refusal or decision.rejected or decision.hash_key is not None:
        return None
    route = policy.by_model[request.model]
    if route.name in policy.shadows:
        return None  # its shadows have to see every request
    rule = matching_rule(request, route)
    several = len(rule.targets) > 1
    if not rule.targets or (several and route.sticky_by is StickyBy.PREFIX):
        return None
    if any(shortfall(state.get(pool.name), rule.min_healthy_percent) for pool in rule.pools):
        return None
    if any(pool.concurrency != UNLIMITED for pool in rule.pools):
        return None  # every request has to be counted
    mirror = rule.mirror
    if mirror is not None and mirror.pool.concurrency != UNLIMITED:
        return None  # every copy has to be counted, too
    features = route.features
    if mirror is not None:
        features |= missing(mirror.pool.features)
    if request.features & features:
        return None
    most_tokens = _most_tokens(route, rule)
    if request.prompt_tokens + request.completion_tokens > most_tokens:
        return None
    alternatives = []
    for target in rule.targets:
        order = [target.pool, *[pool for pool in rule.failover if pool is not target.pool]]
        chain = make_chain(order, route.attempts_per_pool, state)
        placed = decision._replace(
            pools=tuple([pool.name for pool in order]),
            chain=chain,
            reason=rule.arms.get(target.pool.name, rule.reason) if rule.arms else decision.reason,
            per_try_timeout_ms=per_try_timeout(route, request.stream, len(chain)),
        )
        copied = mirror is not None and target.pool is not mirror.pool
        alternatives.append(Alternative(placed, target.weight, target.pool.salt, copied))
    mirroring = may_mirror(request, rule, state) if mirror is not None else None
    return Shared(
        tuple(alternatives),
        route.session_header if route.sticky_by is StickyBy.SESSION else "",
        (DATA_CLASS_HEADER, *route.headers),
        features,
        most_tokens,
        SharedMirror(mirroring, mirror.percent, mirror.salt) if mirror and mirroring else None,
    )


def _most_tokens(route: CompiledRoute, rule: CompiledRule) -> int:
    """So many tokens change neither the rule that matches nor the pools that can serve, or get a
    copy."""
    limits = [rule.smallest_window]
    if rule.mirror is not None:
        limits.append(rule.mirror.pool.window)
    for other in route.config.rules:
        conditions = other.conditions
        if conditions.min_prompt_tokens is not None:
            limits.append(conditions.min_prompt_tokens - 1)
        if conditions.max_prompt_tokens is not None:
            limits.append(conditions.max_prompt_tokens)
    return min(limits)
