"""The plan of a router, made from the snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modelrouter.api.manifests import Key
from modelrouter.api.route import ModelRoute
from modelrouter.controller.snapshot import Snapshot
from modelrouter.plan.facts import ServiceFacts
from modelrouter.plan.planner import PlannedRoutes, RouterPlanner


@dataclass(frozen=True, slots=True)
class RouterPlan:
    """What the routes of a router come to."""

    planned: PlannedRoutes
    models: Mapping[str, ModelRoute]
    """By route, what it was made of: statuses are about these, not about what came later."""


class Planner:
    """Plans routers again and again, each at little cost."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._planners: dict[Key, RouterPlanner] = {}

    def plan(self, router: Key, services: Mapping[str, ServiceFacts]) -> RouterPlan:
        """What the routes of a router come to now."""
        namespace, snapshot = router[0], self._snapshot
        routes, names, canaries = {}, set(), {}
        for key in snapshot.by_router.of(router):
            route = snapshot.routes[key]
            if route.model is not None:
                routes[key[1]] = route.model
                names.update(route.model.spec.model_pools)
            if route.canary is not None:
                canaries[key[1]] = route.canary
        pools = {}
        for name in names:
            pool = snapshot.pools.get((namespace, name))
            if pool is not None and pool.model is not None:
                pools[name] = pool.model
        planner = self._planners.setdefault(router, RouterPlanner())
        return RouterPlan(planner.plan(routes, pools, services, canaries=canaries), routes)

    def forget(self, router: Key) -> None:
        """The router is not needed any more."""
        self._planners.pop(router, None)
