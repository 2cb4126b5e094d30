"""All that Envoy is given for a configuration, as plain data for people to read."""

from __future__ import annotations

from pathlib import Path

from modelrouter.api.router_config import RouterConfig
from modelrouter.router.envoy import routes
from modelrouter.router.envoy.bootstrap import bootstrap
from modelrouter.router.envoy.clusters import cluster, uses_endpoint_discovery
from modelrouter.router.envoy.endpoints import load_assignment
from modelrouter.router.envoy.foreseen import fall_through_plans, foreseen_plans
from modelrouter.router.envoy.messages import Resource
from modelrouter.router.envoy.settings import EnvoySettings

EXAMPLE = EnvoySettings(directory=Path("/run/modelrouter"))


def render_envoy(config: RouterConfig, settings: EnvoySettings = EXAMPLE) -> Resource:
    """The bootstrap and the resources, without the values of secrets."""
    plans: dict[str, Resource] = {}
    models: dict[str, Resource] = {}
    for name, route in config.routes.items():
        found = fall_through_plans(route, config.pools)
        for plan in (*(found or ()), *foreseen_plans(name, route, config.pools)):
            plans[plan.key] = routes.plan_route(plan, config.pools[plan.chain[0]])
        for model in route.models:
            models[model] = {"route": name, "fall_through": found[0].key if found else None}
    return {
        "bootstrap": bootstrap(settings),
        "clusters": [cluster(name, pool, settings) for name, pool in config.pools.items()],
        "endpoints": [
            load_assignment(name, pool.addresses or (), settings)
            for name, pool in config.pools.items()
            if uses_endpoint_discovery(pool)
        ],
        "routes": {
            "virtual_host": routes.virtual_host(settings),
            "plans": plans,
            "models": models,
        },
    }
