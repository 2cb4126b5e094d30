"""Everything that Envoy gets over xDS, serialised, and how it is built from a configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import NamedTuple

from modelrouter.api.router_config import PoolConfig, RouteConfig, RouterConfig
from modelrouter.router.discovery.resources import ResourceSet
from modelrouter.router.envoy import routes, table
from modelrouter.router.envoy.attempts import needs_only_its_model
from modelrouter.router.envoy.clusters import cluster, uses_endpoint_discovery
from modelrouter.router.envoy.endpoints import beside, serialized_assignment
from modelrouter.router.envoy.foreseen import fall_through_plans, foreseen_plans
from modelrouter.router.envoy.holding import HOLDING_PLAN
from modelrouter.router.envoy.plans import Plan
from modelrouter.router.envoy.secrets import generic_secret, secret_name
from modelrouter.router.envoy.settings import EnvoySettings
from modelrouter.router.envoy.typed import CLUSTER, SECRET, serialized
from modelrouter.router.inputs import Secrets
from modelrouter.router.pacing import Pacer
from modelrouter.router.services import Groups, addresses_of

MOST_PLANS = 8_000
"""In the route table. Requests that follow others take the slower way of `x-mr-chain`."""

Parts = Mapping[str, bytes]
"""Serialised messages, or entries of one, by name."""


@dataclass(frozen=True, slots=True)
class EnvoyResources:
    """What Envoy should have."""

    clusters: Parts = field(default_factory=dict)
    endpoints: Parts = field(default_factory=dict)
    secrets: Parts = field(default_factory=dict)
    plans: Parts = field(default_factory=dict)
    """Entries of the route table by key; what `plans.routing_headers` has to know."""
    model_paths: Parts = field(default_factory=dict)
    notes: Parts = field(default_factory=dict)
    models: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    """Request headers that the agent gets to see."""
    settings: EnvoySettings | None = None

    def joined_with(self, newer: EnvoyResources) -> EnvoyResources:
        """The newer ones, beside those of the older ones that have no newer version.

        Endpoints that a pool is to lose stay for that while, too: those that take their place
        have not passed their first health check yet.
        """
        moved = {
            name: beside(self.endpoints[name], body)
            for name, body in newer.endpoints.items()
            if self.endpoints.get(name, body) != body
            and self.clusters.get(name) == newer.clusters.get(name)
        }
        return replace(
            newer,
            clusters={**self.clusters, **newer.clusters},
            endpoints={**self.endpoints, **newer.endpoints, **moved},
            secrets={**self.secrets, **newer.secrets},
            plans={**self.plans, **newer.plans},
            # Decisions go on by the older policy until Envoy has acknowledged.
            headers=tuple(dict.fromkeys((*self.headers, *newer.headers))),
        )

    def as_set(self) -> ResourceSet:
        """As the xDS server takes them."""
        if self.settings is None:
            return ResourceSet()
        configuration = table.route_configuration(
            self.plans.values(),
            self.model_paths.values(),
            [*self.notes.values(), table.headers_note(self.headers)],
            self.models,
            self.settings,
        )
        return ResourceSet(
            self.clusters, self.endpoints, self.secrets, {routes.ROUTE_TABLE: configuration}
        )


class _RouteParts(NamedTuple):
    """What one route needs in the route table, and what that was made from."""

    route: RouteConfig
    pools: tuple[PoolConfig, ...]
    fall_through: Parts
    """Plans that must be there when nobody can be asked."""
    foreseen: Parts | None
    """Plans that save time; None: there was no room for them."""
    notes: Parts
    model_paths: Parts

    def hold(self, route: RouteConfig, pools: tuple[PoolConfig, ...]) -> bool:
        """Whether they are still what the route needs."""
        return self.route == route and self.pools == pools


class ResourceBuilder:
    """Builds resources in slices, and only those that have changed since the last time."""

    def __init__(self, settings: EnvoySettings) -> None:
        self._settings = settings
        self._kept: dict[tuple[str, ...], tuple[object, bytes]] = {}
        self._fresh: dict[tuple[str, ...], tuple[object, bytes]] = {}
        self._parts: dict[str, _RouteParts] = {}

    async def build(
        self, config: RouterConfig, secrets: Secrets, services: Groups | None = None
    ) -> EnvoyResources:
        """All resources of a configuration, with the endpoints that Services have just now."""
        pacer = Pacer()
        self._fresh = {}
        clusters, endpoints, keys = await self._pools(config, secrets, services or {}, pacer)
        limits = await self._limits(config, pacer)
        parts = await self._routes(config, len(limits), pacer)
        self._kept, self._parts = self._fresh, parts
        plans = dict(limits)
        notes: dict[str, bytes] = {}
        paths: dict[str, bytes] = {}
        for route in parts.values():
            plans.update(route.fall_through)
            notes.update(route.notes)
            paths.update(route.model_paths)
            await pacer.breathe()
        for route in parts.values():
            if route.foreseen and len(plans) < MOST_PLANS:
                plans.update(islice(route.foreseen.items(), MOST_PLANS - len(plans)))
                await pacer.breathe()
        return EnvoyResources(
            clusters,
            endpoints,
            keys,
            plans,
            paths,
            notes,
            tuple(model for route in config.routes.values() for model in route.models),
            headers_looked_at(config),
            self._settings,
        )

    def _once(self, key: tuple[str, ...], source: object, make: Callable[[], bytes]) -> bytes:
        """What `make` gives; not called as long as the source stays equal."""
        kept = self._fresh.get(key) or self._kept.get(key)
        if kept is None or kept[0] != source:
            kept = (source, make())
        self._fresh[key] = kept
        return kept[1]

    async def _pools(
        self, config: RouterConfig, secrets: Secrets, services: Groups, pacer: Pacer
    ) -> tuple[dict[str, bytes], dict[str, bytes], dict[str, bytes]]:
        clusters, endpoints, keys = {}, {}, {}
        for name, pool in config.pools.items():
            value = _secret_value(pool, secrets)
            has_key = pool.credential is None or bool(value)
            clusters[name] = self._once(
                ("cluster", name),
                (pool, has_key),
                lambda name=name, pool=pool, has_key=has_key: serialized(  # type: ignore[misc]
                    CLUSTER, cluster(name, pool, self._settings, has_key=has_key)
                ),
            )
            if uses_endpoint_discovery(pool):
                addresses = _addresses(pool, services) if has_key else ()
                endpoints[name] = self._once(
                    ("endpoints", name),
                    addresses,
                    lambda name=name, addresses=addresses: serialized_assignment(  # type: ignore[misc]
                        name, addresses, self._settings
                    ),
                )
            if pool.credential is not None and value:
                secret = secret_name(pool.credential)
                keys[secret] = serialized(SECRET, generic_secret(secret, value))
            await pacer.breathe()
        return clusters, endpoints, keys

    async def _limits(self, config: RouterConfig, pacer: Pacer) -> dict[str, bytes]:
        """The entries for requests that follow no plan, by their timeouts."""
        entries: dict[str, bytes] = {
            HOLDING_PLAN: self._once(
                ("holding",),
                None,
                lambda: table.route_entry(
                    HOLDING_PLAN, serialized(routes.ROUTE, routes.holding_route())
                ),
            )
        }
        for limits in dict.fromkeys(routes.unplanned_limits(config.routes.values())):
            idle_ms, stall_ms, mirrored = limits
            key = routes.unplanned_key(idle_ms, stall_ms, mirrored=mirrored)
            route = routes.unplanned_route(idle_ms, stall_ms, mirrored=mirrored)
            entries[key] = self._once(
                ("plan", key),
                limits,
                lambda key=key, route=route: table.route_entry(  # type: ignore[misc]
                    key, serialized(routes.ROUTE, route)
                ),
            )
            await pacer.breathe()
        return entries

    async def _routes(
        self, config: RouterConfig, entries: int, pacer: Pacer
    ) -> dict[str, _RouteParts]:
        """The parts of all routes; of plans no more than there is room for beside `entries`."""
        parts: dict[str, _RouteParts] = {}
        # First what must be there when nobody can be asked.
        common: set[str] = set()
        for name, route in config.routes.items():
            pools = tuple(config.pools[pool] for pool in route.pools)
            known = self._parts.get(name)
            if known is None or not known.hold(route, pools):
                known = self._route(name, route, pools, config.pools)
            parts[name] = known
            common.update(known.fall_through)
            await pacer.breathe()
        room = MOST_PLANS - entries - len(common)
        for name, known in parts.items():
            if room > 0 and known.foreseen is None:
                foreseen: dict[str, bytes] = {}
                for plan in foreseen_plans(name, known.route, config.pools):
                    self._add_plan(plan, config.pools, foreseen)
                parts[name] = known = known._replace(foreseen=foreseen)
                await pacer.breathe()
            room -= len(known.foreseen or ())
        return parts

    def _route(
        self,
        name: str,
        route: RouteConfig,
        used: tuple[PoolConfig, ...],
        pools: Mapping[str, PoolConfig],
    ) -> _RouteParts:
        """The parts of one route, without plans that are only foreseen."""
        fall_through: dict[str, bytes] = {}
        plans = fall_through_plans(route, pools)
        for plan in plans or ():
            self._add_plan(plan, pools, fall_through)
        plain, streamed = (plans[0].key, plans[1].key) if plans else ("", "")
        notes, paths = {}, {}
        for model in route.models:
            notes[model] = table.fall_through_note(model, name, plain, streamed)
            for path in routes.model_paths(model):
                paths[path] = table.model_entry(path, model)
        return _RouteParts(route, used, fall_through, None, notes, paths)

    def _add_plan(
        self, plan: Plan, pools: Mapping[str, PoolConfig], entries: dict[str, bytes]
    ) -> None:
        first, key = pools[plan.chain[0]], plan.key
        entries[key] = self._once(
            ("plan", key),
            (first.model, needs_only_its_model(first)),
            lambda: table.plan_entry(plan, self._unnamed(plan.unnamed, first)),
        )

    def _unnamed(self, plan: Plan, first: PoolConfig) -> bytes:
        """In two parts, which protobuf merges: many plans have the one or the other in common."""
        pools = self._once(
            ("pools of mirrored plans" if plan.mirrored else "pools of plans", *plan.chain),
            (first.model, needs_only_its_model(first)),
            lambda: serialized(
                routes.ROUTE, routes.pools_part(plan.chain, first, mirrored=plan.mirrored)
            ),
        )
        limits = plan._replace(chain=("",) * len(plan.chain))
        return pools + self._once(
            ("limits of plans", limits.key),
            None,
            lambda: serialized(routes.ROUTE, routes.limits_part(limits)),
        )


def _addresses(pool: PoolConfig, services: Groups) -> tuple[str, ...]:
    if pool.service is None:
        return tuple(pool.addresses or ())
    return addresses_of(services.get(pool.service.name, ()), pool.service.port)


def _secret_value(pool: PoolConfig, secrets: Secrets) -> str:
    wanted = pool.credential
    return secrets.get(wanted.secret, {}).get(wanted.key, "") if wanted else ""


def headers_looked_at(config: RouterConfig) -> tuple[str, ...]:
    """The request headers that decisions by a configuration look at."""
    headers = dict.fromkeys(routes.CLIENT_HEADERS)
    for route in config.routes.values():
        for rule in route.rules:
            for condition in rule.conditions.headers:
                headers[condition.name.lower()] = None
        if route.sticky is not None:
            headers[route.sticky.header.lower()] = None
    return tuple(headers)
