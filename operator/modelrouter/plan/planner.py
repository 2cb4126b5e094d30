"""The routes and pools of one router, compiled, and compiled again at little cost.

Of a thousand routes that share a router, one changes at a time. What depends only on things that
are still the same objects is taken over from the last plan. The result is the same as that of a
new planner, whatever came before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from modelrouter.api.canary_status import CanaryStatus
from modelrouter.api.pool import ModelPool
from modelrouter.api.pool_name import adapter_of, pool_of
from modelrouter.api.route import ModelRoute
from modelrouter.api.router_config import PoolConfig, RouteConfig
from modelrouter.plan.canary.traffic import split_in_force
from modelrouter.plan.facts import ServiceFacts, ServicePort
from modelrouter.plan.pools import has_adapter, plan_pool
from modelrouter.plan.routes import plan_route
from modelrouter.plan.shadowing import Shadowing, find_shadowed
from modelrouter.plan.shards import digest, entry, pool_key, route_key, version_of

Addresses = Mapping[str, Sequence[str]]
"""Addresses by pool, `host:port`, that stand in for its own source."""
Services = Mapping[str, ServiceFacts]


@dataclass(frozen=True, slots=True)
class RouteOutcome:
    """What became of one route."""

    config: RouteConfig | None
    """As the router serves it. None: it does not, for lack of a model or of any pool."""
    models: tuple[str, ...] = ()
    """The models that are its own."""
    conflicts: Mapping[str, str] = field(default_factory=dict)
    """Models that an older route serves, with the name of that route."""
    missing_pools: tuple[str, ...] = ()
    """Pools and adapters that it names and that do not exist, or cannot be used."""
    shadowing: Shadowing | None = None
    """What it is the shadow of; None: it is no shadow."""


@dataclass(frozen=True, slots=True)
class PlannedRoutes:
    """All routes and pools of a router. Nothing in it ever changes."""

    pools: dict[str, PoolConfig]
    routes: dict[str, RouteConfig]
    outcomes: dict[str, RouteOutcome]
    """By route, also those that are not served. A route that came out as before is the same
    object as before."""
    entries: dict[str, str]
    """The text of each pool and route, by its key."""
    version: str
    """The version of the entries."""
    secret_names: list[str]
    """The Secrets that the pools name."""


Config = TypeVar("Config", PoolConfig, RouteConfig)


@dataclass(frozen=True, slots=True)
class _Planned(Generic[Config]):
    """A pool or route as it was last planned, and what that depended on."""

    source: object
    """The resource, compared by identity."""
    causes: tuple[object, ...]
    """All else, compared by value."""
    config: Config
    text: str
    digest: bytes

    def holds(self, source: object, causes: tuple[object, ...]) -> bool:
        """Whether planning again would give the same."""
        return self.source is source and self.causes == causes


def _planned(source: object, causes: tuple[object, ...], config: Config) -> _Planned[Config]:
    text = entry(config)
    return _Planned(source, causes, config, text, digest(text))


class RouterPlanner:
    """Plans one router again and again."""

    def __init__(self) -> None:
        self._pools: dict[str, _Planned[PoolConfig]] = {}
        self._routes: dict[str, _Planned[RouteConfig]] = {}
        self._outcomes: dict[str, RouteOutcome] = {}

    def plan(
        self,
        routes: Mapping[str, ModelRoute],
        pools: Mapping[str, ModelPool],
        services: Services | None = None,
        addresses: Addresses | None = None,
        canaries: Mapping[str, CanaryStatus] | None = None,
    ) -> PlannedRoutes:
        """Compile the routes, all of one router, with the pools of their namespace, by name.

        `services` are those of the namespace; None: nothing is known of them. `addresses` stand in
        for the sources of the pools named. `canaries` are the statuses of canaries by route; one
        without a status does nothing. Resources are compared by identity: give a changed one as
        another object.
        """
        used = {name for route in routes.values() for name in route.spec.pools}
        there = {name: pools[pool_of(name)] for name in used if _is_there(name, pools)}
        self._plan_pools(there, services, addresses)
        self._plan_routes(routes, canaries or {})
        entries, digests = {}, {}
        for name, pool in self._pools.items():
            entries[pool_key(name)], digests[pool_key(name)] = pool.text, pool.digest
        for name, route in self._routes.items():
            entries[route_key(name)], digests[route_key(name)] = route.text, route.digest
        configs = {name: pool.config for name, pool in self._pools.items()}
        return PlannedRoutes(
            pools=configs,
            routes={name: route.config for name, route in self._routes.items()},
            outcomes=self._outcomes,
            entries=entries,
            version=version_of(digests),
            secret_names=sorted({p.credential.secret for p in configs.values() if p.credential}),
        )

    def _plan_pools(
        self,
        pools: Mapping[str, ModelPool],
        services: Services | None,
        addresses: Addresses | None,
    ) -> None:
        planned: dict[str, _Planned[PoolConfig]] = {}
        for name, pool in sorted(pools.items()):
            given = (addresses or {}).get(pool_of(name))
            ports = _ports(pool, services)
            causes = (None if given is None else tuple(given), ports)
            known = self._pools.get(name)
            if known is None or not known.holds(pool, causes):
                known = _planned(pool, causes, plan_pool(pool, given, ports, adapter_of(name)))
            planned[name] = known
        self._pools = planned

    def _plan_routes(
        self, routes: Mapping[str, ModelRoute], canaries: Mapping[str, CanaryStatus]
    ) -> None:
        winners = _winners(routes)
        planned: dict[str, _Planned[RouteConfig]] = {}
        outcomes: dict[str, RouteOutcome] = {}
        for name, route in sorted(routes.items()):
            shadowing = find_shadowed(route.spec, routes)
            models: tuple[str, ...] = ()
            if shadowing is None:
                models = tuple(model for model in route.spec.models if winners[model] == name)
            there = tuple(pool for pool in route.spec.pools if pool in self._pools)
            split = split_in_force(route.spec.canary, canaries.get(name))
            causes = (models, there, split)
            known = self._routes.get(name)
            if not models and shadowing is not Shadowing.FOUND:
                known = None
            elif known is None or not known.holds(route, causes):
                config = plan_route(route.spec, there, models, split)
                known = _planned(route, causes, config) if config is not None else None
            if known is not None:
                planned[name] = known
            config = known.config if known is not None else None
            outcome = self._outcome(route, config, models, there, winners, shadowing)
            before = self._outcomes.get(name)
            unchanged = before is not None and before.config is config and before == outcome
            outcomes[name] = before if before is not None and unchanged else outcome
        self._routes, self._outcomes = planned, outcomes

    def _outcome(
        self,
        route: ModelRoute,
        config: RouteConfig | None,
        models: tuple[str, ...],
        there: tuple[str, ...],
        winners: Mapping[str, str],
        shadowing: Shadowing | None,
    ) -> RouteOutcome:
        conflicts: dict[str, str] = {}
        missing: tuple[str, ...] = ()
        if shadowing is None and len(models) < len(route.spec.models):
            conflicts = {m: winners[m] for m in route.spec.models if m not in models}
        if len(there) < len(route.spec.pools):
            missing = tuple(pool for pool in route.spec.pools if pool not in there)
        return RouteOutcome(config, models, conflicts, missing, shadowing)


def _is_there(name: str, pools: Mapping[str, ModelPool]) -> bool:
    pool = pools.get(pool_of(name))
    if pool is None:
        return False
    return not adapter_of(name) or has_adapter(pool, adapter_of(name))


def _ports(pool: ModelPool, services: Services | None) -> tuple[ServicePort, ...] | None:
    """The ports of the pool's Service; none if there is no such Service, None if nobody knows."""
    if pool.spec.service is None or services is None:
        return None
    facts = services.get(pool.spec.service.name)
    return facts.ports if facts is not None else ()


def _winners(routes: Mapping[str, ModelRoute]) -> dict[str, str]:
    """Which route serves each virtual model: the oldest that claims it, then the first by name."""
    by_age = sorted(
        routes.items(), key=lambda item: (item[1].metadata.creation_timestamp or "", item[0])
    )
    winners: dict[str, str] = {}
    for name, route in by_age:
        for model in route.spec.models if route.spec.shadow_of is None else ():
            winners.setdefault(model, name)
    return winners
