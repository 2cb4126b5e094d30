"""ModelRoute and what is known of the cluster → its status."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from modelrouter.api.pool import ModelPool
from modelrouter.api.pool_name import adapter_of, adapter_pool, pool_of
from modelrouter.api.route import ModelRoute
from modelrouter.api.router_config import RouteConfig, RuleConfig
from modelrouter.plan.facts import NamespaceFacts, Programming, RouterFacts, Subject
from modelrouter.plan.naming import child_name, router_url
from modelrouter.plan.planner import RouteOutcome
from modelrouter.plan.pool_status import PoolFacts, invalid_spec, observed, pool_status
from modelrouter.plan.pools import has_adapter
from modelrouter.plan.references import resolve
from modelrouter.plan.shadowing import Shadowing, shadow_problem, shadow_ready
from modelrouter.plan.transitions import Event, transitions
from modelrouter.plan.verdicts import (
    ACCEPTED,
    PENDING,
    PROGRAMMED,
    READY,
    RESOLVED_REFS,
    Verdict,
    conditions,
    listed,
    no,
    unknown,
    yes,
)

__all__ = ["Event", "PoolFacts", "RouteFacts", "pool_status", "route_status", "transitions"]


MOST_SHARES = 2048
"""What the schema of the status has room for."""


@dataclass(frozen=True, slots=True)
class RouteFacts:
    """What the status of a route depends on."""

    subject: Subject
    route: ModelRoute | None
    """None: it cannot be read; the subject's problems say why."""
    outcome: RouteOutcome | None
    """What the plan of its router made of it. None: it has not been planned yet."""
    programming: Programming = field(default_factory=Programming)
    router: RouterFacts = field(default_factory=RouterFacts)
    pools: Mapping[str, ModelPool | None] = field(default_factory=dict)
    """Pools of the namespace, at least those that the route names. None: it cannot be read."""
    known: NamespaceFacts = field(default_factory=NamespaceFacts)
    waking: Collection[str] = frozenset()
    """Pools that may have no endpoint, as a request waits there until one has started."""


def route_status(facts: RouteFacts, old: Mapping[str, Any] | None, now: str) -> dict[str, Any]:
    """The status of a route. `old` is its present one; `now` is RFC 3339 in UTC.

    Equal facts give an equal status, whatever the time.
    """
    status: dict[str, Any] = {"observedGeneration": facts.subject.generation}
    if facts.route is None:
        invalid = invalid_spec(facts.subject)
        verdicts = {
            ACCEPTED: invalid,
            RESOLVED_REFS: unknown("InvalidSpec", "the spec cannot be read"),
            PROGRAMMED: no("InvalidSpec", "the route is not served"),
            READY: invalid,
        }
    else:
        if facts.route.spec.shadow_of is None:
            status["url"] = router_url(facts.subject.namespace, facts.route.spec.router)
        config = facts.outcome.config if facts.outcome is not None else None
        if config is not None and config.shadow_of is None:
            status["traffic"] = list(islice(_traffic(config), MOST_SHARES))
        verdicts = _verdicts(facts, facts.route)
    before = (old or {}).get("conditions") or ()
    status["conditions"] = conditions(verdicts, facts.subject.generation, before, now)
    return status


def _traffic(config: RouteConfig) -> Iterator[dict[str, Any]]:
    for rule in config.rules:
        for target in rule.targets:
            share = {"rule": rule.name, "pool": target.pool, "weight": target.weight}
            yield {**share, "segment": True} if rule.segment else share


def _verdicts(facts: RouteFacts, route: ModelRoute) -> dict[str, Verdict]:
    if facts.outcome is None:
        pending = unknown(PENDING, "the operator has not looked at this generation yet")
        return dict.fromkeys((ACCEPTED, RESOLVED_REFS, PROGRAMMED, READY), pending)
    accepted = _accepted(facts, route, facts.outcome)
    refs = _resolved_refs(facts, route, facts.outcome)
    if facts.outcome.config is None:
        reason = accepted if accepted.status == "False" and not facts.outcome.models else refs
        if reason.status != "False":
            reason = no("Programming", "the route is about to be planned again")
        programmed = no(reason.reason, f"the route is not served: {reason.message}")
        ready = reason
    else:
        programmed = _programmed(facts, route)
        ready = accepted if not accepted.holds else programmed
        if accepted.holds and programmed.holds:
            ready = _ready(facts, facts.outcome.config)
            if route.spec.shadow_of is not None:
                ready = shadow_ready(route.spec, facts.subject.namespace)
    return {ACCEPTED: accepted, RESOLVED_REFS: refs, PROGRAMMED: programmed, READY: ready}


def _accepted(facts: RouteFacts, route: ModelRoute, outcome: RouteOutcome) -> Verdict:
    if outcome.shadowing is Shadowing.SHADOW:
        text = shadow_problem(route.spec, facts.subject.namespace, outcome.shadowing)
        return no("ShadowOfShadow", text)
    if outcome.shadowing is not None:
        return yes("Accepted", "the route is valid; as a shadow it claims no model")
    if not outcome.conflicts:
        return yes("Accepted", "the route is valid, and its models are served by no other route")
    taken = [
        f"{model} is served by the older ModelRoute {facts.subject.namespace}/{winner}"
        for model, winner in outcome.conflicts.items()
    ]
    rest = f". Served here: {listed(outcome.models, ', ')}" if outcome.models else ""
    return no("ModelConflict", f"{listed(taken)}; take it out of spec.models here or there{rest}")


def _resolved_refs(facts: RouteFacts, route: ModelRoute, outcome: RouteOutcome) -> Verdict:
    namespace = facts.subject.namespace
    problems: list[Verdict] = []
    if outcome.shadowing is Shadowing.MISSING:
        text = shadow_problem(route.spec, namespace, outcome.shadowing)
        problems.append(no("ShadowedRouteNotFound", text))
    pending: list[Verdict] = []
    for name in route.spec.model_pools:
        label = f"ModelPool {namespace}/{name}"
        if name not in facts.pools:
            text = f"there is no {label}; create it, or take it out of spec.pools"
            problems.append(no("PoolNotFound", text))
            continue
        pool = facts.pools[name]
        if pool is None:
            problems.append(no("PoolInvalid", f"{label} is invalid; its own status says why"))
            continue
        for adapter in _missing_adapters(route, pool):
            text = (
                f"{label} has no adapter {adapter}; add it to its spec.vllm.loraAdapters, or take "
                f"{adapter_pool(name, adapter)} out of spec.pools"
            )
            problems.append(no("AdapterNotFound", text))
        found = resolve(pool, facts.known)
        if not found.holds:
            named = Verdict(found.status, found.reason, f"{label}: {found.message}")
            (problems if found.status == "False" else pending).append(named)
    if problems:
        return no(problems[0].reason, listed([problem.message for problem in problems]))
    if pending:
        return unknown(PENDING, listed([verdict.message for verdict in pending]))
    return yes("ResolvedRefs", "all pools are there, and all that they refer to")


def _missing_adapters(route: ModelRoute, pool: ModelPool) -> list[str]:
    named = [n for n in route.spec.pools if pool_of(n) == pool.metadata.name and adapter_of(n)]
    return [adapter_of(name) for name in named if not has_adapter(pool, adapter_of(name))]


def _programmed(facts: RouteFacts, route: ModelRoute) -> Verdict:
    router, namespace = route.spec.router, facts.subject.namespace
    ready = any(pod.ready for pod in facts.router.pods)
    if ready and facts.programming.programmed:
        return yes("Programmed", f"every pod of router {router} works by this generation")
    if facts.router.problem:
        text = f"the objects of router {router} cannot be written: {facts.router.problem}"
        return no("RouterNotApplied", text)
    if not ready:
        look = f"kubectl describe deployment -n {namespace} {child_name(router)}"
        what = f"router {router} has no pod"
        if facts.router.pods:
            first = min(pod.name for pod in facts.router.pods)
            look = f"kubectl describe pod -n {namespace} {first}"
            what = f"no pod of router {router} is ready"
        return no("RouterNotReady", f"{what}; see: {look}")
    reason = facts.programming.reason or f"the pods of router {router} have not taken it yet"
    return no("Programming", reason)


def _ready(facts: RouteFacts, config: RouteConfig) -> Verdict:
    """Whether each rule has a pool that can answer."""
    readiness = {name: _pool_ready(facts, name) for name in config.pools}
    dead, unclear = [], []
    for rule in config.rules:
        names = _usable(rule)
        if any(readiness.get(name) for name in names):
            continue
        label = f"rule {rule.name}"
        if not names:
            dead.append(f"{label} has no pool left")
        elif any(readiness.get(name) is None for name in names):
            unclear.append(f"{label}: {_pools(names)}")
        else:
            dead.append(f"{label}: no endpoint of {_pools(names)} is ready")
    if dead:
        return no("NoEndpoints", f"{listed(dead)}; see the status of the pools")
    if unclear:
        what = listed(unclear)
        return unknown(
            PENDING, f"the routers have not told yet whether endpoints are ready: {what}"
        )
    away = [name for name in config.pools if readiness[name] is False]
    more = f"; no endpoint of {_pools(away)} is ready" if away else ""
    if asleep := [name for name in config.pools if _sleeps(facts, name)]:
        more += f"; a request starts {_pools(asleep)}"
    return yes("Ready", f"every rule has an endpoint that answers{more}")


def _pools(names: list[str]) -> str:
    return f"{'pool' if len(names) == 1 else 'pools'} {listed(names, ', ')}"


def _usable(rule: RuleConfig) -> list[str]:
    """The pools that a rule may send requests to."""
    names = [target.pool for target in rule.targets if target.weight > 0]
    return list(dict.fromkeys([*names, *rule.failover]))


def _pool_ready(facts: RouteFacts, name: str) -> bool | None:
    """Whether a pool has an endpoint that gets requests; None: nobody knows yet."""
    pool = facts.pools.get(pool_of(name))
    if pool is None:
        return False
    # Servers that run do not need the Secrets of those to come.
    if pool.spec.vllm is None and resolve(pool, facts.known).status == "False":
        return False
    counts = observed([facts.router], name)
    if _sleeps(facts, name):
        return True
    return counts.ready > 0 if counts is not None else None


def _sleeps(facts: RouteFacts, name: str) -> bool:
    """Whether a pool has no endpoint, but a request that waits for one gets it."""
    counts = observed([facts.router], name)
    return pool_of(name) in facts.waking and (counts is None or counts.ready == 0)
