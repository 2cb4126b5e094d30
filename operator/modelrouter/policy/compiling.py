"""Compiling a `RouterConfig` into a `Policy`: everything that decisions need, worked out before.

A policy is never changed. A new configuration makes a new one, which takes over what has not
changed from the one before; `Policy.replacing` does so step by step, so that a router can go on
answering while a thousand routes are replaced.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from modelrouter.api.pool import Feature, LoadBalancing
from modelrouter.api.route import StickyBy
from modelrouter.api.router_config import (
    MirrorConfig,
    PoolConfig,
    PoolScaling,
    RouteConfig,
    RouterConfig,
    RuleConfig,
    WeightedPool,
)
from modelrouter.policy.arms import arm_reasons, plain_reason
from modelrouter.policy.matching import Check, compile_checks
from modelrouter.policy.rendezvous import salt

SESSION_HEADER = "x-session-id"
"""The header that names a session where the route's `sticky` names no other."""

UNLIMITED = sys.maxsize
"""Stands for a limit that is not there, so that comparing needs no special case."""


@dataclass(frozen=True, slots=True, eq=False)
class CompiledPool:
    """A pool as decisions need it."""

    name: str
    config: PoolConfig
    window: int
    """Tokens that prompt and answer may have together, or `UNLIMITED`."""
    features: frozenset[str] | None
    """What the model can do; `None`: everything."""
    data_classes: frozenset[str]
    concurrency: int
    """Requests at the same time per endpoint, or `UNLIMITED`."""
    salt: int
    """What tells the pool's hash from others'."""
    hashes_by: StickyBy | None
    """What the pool places requests on its endpoints by, if by a hash."""
    scaling: PoolScaling | None
    """What happens while the pool has no endpoint, if it scales from zero."""


@dataclass(frozen=True, slots=True, eq=False)
class CompiledTarget:
    """One of the pools that share a rule's requests."""

    pool: CompiledPool
    weight: int


@dataclass(frozen=True, slots=True, eq=False)
class CompiledMirror:
    """Where copies of a rule's requests go."""

    pool: CompiledPool
    percent: int
    """Share of the requests that is copied, 1 to 100."""
    compare: bool
    evaluator: CompiledPool | None
    salt: int
    """What makes the choice of copied requests independent of where requests go."""


@dataclass(frozen=True, slots=True, eq=False)
class CompiledRule:
    """A rule as decisions need it."""

    name: str
    checks: tuple[Check, ...]
    targets: tuple[CompiledTarget, ...]
    """The targets with a weight above 0."""
    failover: tuple[CompiledPool, ...]
    pools: tuple[CompiledPool, ...]
    """All that the rule may use: targets, then the others of `failover`. Empty when none of them
    exists; requests that match are refused then, for the rule may be there to keep them in."""
    target_names: frozenset[str]
    smallest_window: int
    """What fits this fits every pool of the rule."""
    common_features: frozenset[str] | None
    """What every pool of the rule can do; `None`: everything."""
    hashes: bool
    """Whether any pool places requests on its endpoints by a hash, that of copies included."""
    min_healthy_percent: int
    """Share of a pool's endpoints below which the next pool takes a part of its requests."""
    reason: str
    """The decision's reason when nothing out of the ordinary happened."""
    arms: Mapping[str, str]
    """The same by pool, for the arms of a canary that splits the rule; empty: none does."""
    mirror: CompiledMirror | None = None


@dataclass(frozen=True, slots=True, eq=False)
class CompiledRoute:
    """A route as decisions need it."""

    name: str
    config: RouteConfig
    pools: tuple[CompiledPool, ...]
    """The allow-list. No rule holds any other."""
    rules: tuple[CompiledRule, ...]
    attempts_per_pool: int
    per_try_timeout_ms: int | None
    request_timeout_ms: int
    idle_timeout_ms: int
    sticky_by: StickyBy | None
    session_header: str
    headers: tuple[str, ...]
    """Request headers that rules look at, besides the one with data classes."""
    features: frozenset[str]
    """What tells requests apart that need it: a rule looks at it, or some pool that serves has not
    got it."""


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """All routes, by what requests ask for."""

    by_model: dict[str, CompiledRoute] = field(default_factory=dict)
    """Routes by virtual model."""
    routes: dict[str, CompiledRoute] = field(default_factory=dict)
    """Routes by name."""
    pools: dict[str, CompiledPool] = field(default_factory=dict)
    """Pools by name."""
    shadows: dict[str, tuple[CompiledRoute, ...]] = field(default_factory=dict)
    """Routes that decide another one's requests without effect, by the name of that one."""

    def replacing(self, config: RouterConfig) -> Iterator[Policy]:
        """Compile another configuration in steps of one pool or route, of about 0.1 ms each.

        Yields the policy to decide by after each step: this one, which stays as it is, until the
        last step yields the new one. What has not changed is taken over. Of two routes that claim
        a model the first one keeps it.

        Raises `ValueError` when the configuration cannot be kept; see `compile_route`.
        """
        pools: dict[str, CompiledPool] = {}
        for name, pool_config in config.pools.items():
            pool = self.pools.get(name)
            if pool is None or pool.config != pool_config:
                pool = compile_pool(name, pool_config)
            pools[name] = pool
            yield self
        routes: dict[str, CompiledRoute] = {}
        by_model: dict[str, CompiledRoute] = {}
        shadows: dict[str, tuple[CompiledRoute, ...]] = {}
        for name, route_config in config.routes.items():
            route = self.routes.get(name)
            if (
                route is None
                or any(pools.get(pool.name) is not pool for pool in route.pools)
                or route.config != route_config
            ):
                route = compile_route(name, route_config, pools)
            routes[name] = route
            if shadowed := route_config.shadow_of:
                shadows[shadowed] = (*shadows.get(shadowed, ()), route)
            for model in route_config.models:
                by_model.setdefault(model, route)
            yield self
        yield Policy(by_model, routes, pools, shadows)


def compile_policy(config: RouterConfig) -> Policy:
    """The policy of a configuration, in one go."""
    *_, policy = Policy().replacing(config)
    return policy


def compile_pool(name: str, config: PoolConfig) -> CompiledPool:
    """A pool, ready for decisions."""
    hashes_by = {
        LoadBalancing.SESSION_HASH: StickyBy.SESSION,
        LoadBalancing.PREFIX_HASH: StickyBy.PREFIX,
    }
    features = config.features
    return CompiledPool(
        name=name,
        config=config,
        window=UNLIMITED if config.context_window is None else config.context_window,
        features=None if features is None else frozenset(feature.value for feature in features),
        data_classes=frozenset(map(str.lower, config.data_classes)),
        concurrency=config.max_concurrent_requests or UNLIMITED,
        salt=salt(name),
        hashes_by=hashes_by.get(config.load_balancing),
        scaling=config.scaling if config.scaling and config.scaling.from_zero else None,
    )


def compile_route(
    name: str, config: RouteConfig, pools: Mapping[str, CompiledPool]
) -> CompiledRoute:
    """A route, ready for decisions. `pools` holds at least those that it names.

    Raises `ValueError` when the route refers to a pool that it does not allow or that does not
    exist, or when a request could match no rule: such a document was not made by `plan`.
    """
    missing = [pool for pool in config.pools if pool not in pools]
    if missing:
        raise ValueError(f"route {name}: pool {missing[0]} is allowed but not defined")
    allowed = {pool: pools[pool] for pool in config.pools}
    rules = tuple(
        _compile_rule(name, rule, allowed, config.mirror, arm_reasons(config, place))
        for place, rule in enumerate(config.rules)
    )
    if not rules or rules[-1].checks:
        raise ValueError(f"route {name}: the last rule must match every request")
    sticky = config.sticky
    return CompiledRoute(
        name=name,
        config=config,
        pools=tuple(allowed.values()),
        rules=rules,
        attempts_per_pool=config.retry.attempts_per_pool,
        per_try_timeout_ms=config.retry.per_try_timeout_ms,
        request_timeout_ms=config.request_timeout_ms,
        idle_timeout_ms=config.idle_timeout_ms,
        sticky_by=None if sticky is None else sticky.by,
        session_header=SESSION_HEADER if sticky is None else sticky.header.lower(),
        headers=tuple(
            dict.fromkeys(
                condition.name.lower()
                for rule in config.rules
                for condition in rule.conditions.headers
            )
        ),
        features=_telling_features(config, rules),
    )


def _telling_features(config: RouteConfig, rules: Iterable[CompiledRule]) -> frozenset[str]:
    looked_at = (rule.conditions.features for rule in config.rules)
    return frozenset().union(*looked_at, *(missing(rule.common_features) for rule in rules))


def missing(features: frozenset[str] | None) -> frozenset[str]:
    """What a pool, or some of several, cannot do that can do this; `None`: everything."""
    return frozenset() if features is None else frozenset(Feature) - features


def _compile_rule(
    route: str,
    rule: RuleConfig,
    allowed: Mapping[str, CompiledPool],
    mirror_config: MirrorConfig | None,
    arms: Mapping[str, str],
) -> CompiledRule:
    where = f"route {route}, rule {rule.name}"
    names = [target.pool for target in rule.targets] + rule.failover
    for name in names:
        if name not in allowed:
            raise ValueError(f"{where}: pool {name} is not among the route's pools")
    targets = tuple(_compile_target(target, allowed) for target in rule.targets if target.weight)
    failover = tuple(allowed[name] for name in dict.fromkeys(rule.failover))
    pools = tuple(dict.fromkeys([*(target.pool for target in targets), *failover]))
    mirror = _compile_mirror(where, rule.name, mirror_config, allowed)
    limited = [pool.features for pool in pools if pool.features is not None]
    try:
        checks = compile_checks(rule.conditions)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return CompiledRule(
        name=rule.name,
        checks=checks,
        targets=targets,
        failover=failover,
        pools=pools,
        target_names=frozenset(target.pool.name for target in targets),
        smallest_window=min((pool.window for pool in pools), default=UNLIMITED),
        common_features=frozenset.intersection(*limited) if limited else None,
        hashes=any(pool.hashes_by for pool in pools)
        or (mirror is not None and mirror.pool.hashes_by is not None),
        min_healthy_percent=rule.min_healthy_percent,
        reason=plain_reason(rule.name),
        arms=arms,
        mirror=mirror,
    )


def _compile_mirror(
    where: str, rule: str, config: MirrorConfig | None, allowed: Mapping[str, CompiledPool]
) -> CompiledMirror | None:
    if config is None or config.rule not in (None, rule):
        return None
    for name in (config.pool, config.evaluator):
        if name is not None and name not in allowed:
            raise ValueError(f"{where}: mirror pool {name} is not among the route's pools")
    return CompiledMirror(
        pool=allowed[config.pool],
        percent=config.percent,
        compare=config.compare,
        evaluator=allowed[config.evaluator] if config.evaluator is not None else None,
        salt=salt(f"mirror {config.pool}"),
    )


def _compile_target(target: WeightedPool, allowed: Mapping[str, CompiledPool]) -> CompiledTarget:
    return CompiledTarget(pool=allowed[target.pool], weight=target.weight)
