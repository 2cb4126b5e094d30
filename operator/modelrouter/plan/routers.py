"""Resources → one RouterConfig, and what is wrong with the references between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from modelrouter.api.manifests import Key, Manifests
from modelrouter.api.pool import ModelPool
from modelrouter.api.problems import Problem
from modelrouter.api.route import ModelRoute
from modelrouter.api.router_config import PoolConfig, RouterConfig, content_version
from modelrouter.plan.pools import plan_pool
from modelrouter.plan.routes import plan_route


@dataclass(frozen=True, slots=True)
class PlannedRouter:
    """A router's configuration, and what had to be left out of it."""

    config: RouterConfig
    problems: list[Problem] = field(default_factory=list)


def router_keys(manifests: Manifests) -> list[Key]:
    """Namespace and name of every router that a route names."""
    return sorted({(key[0], route.spec.router) for key, route in manifests.routes.items()})


class UnknownRouterError(Exception):
    """No router, or more than one, fits what was asked for; the message lists what there is."""


def choose_router(manifests: Manifests, namespace: str = "", router: str = "") -> Key:
    """The one router that is meant; empty names stand for any."""
    keys = router_keys(manifests)
    fitting = [key for key in keys if namespace in ("", key[0]) and router in ("", key[1])]
    if len(fitting) == 1:
        return fitting[0]
    if not keys:
        raise UnknownRouterError("the manifests hold no ModelRoute that can be used")
    found = ", ".join(f"{name} in namespace {space}" for space, name in keys)
    what = "several routers; choose one with --router and --namespace" if fitting else "no such one"
    raise UnknownRouterError(f"{what}. Routers here: {found}")


def plan_router(
    manifests: Manifests,
    namespace: str,
    router: str,
    addresses: Mapping[str, Sequence[str]] | None = None,
) -> PlannedRouter:
    """Compile the routes of one router.

    `addresses` stand in for the sources of the pools named. What refers to something missing is
    left out and reported; everything else is served.
    """
    problems: list[Problem] = []
    routes = {
        key: route
        for key, route in manifests.routes.items()
        if key[0] == namespace and route.spec.router == router
    }
    used = {name for route in routes.values() for name in route.spec.pools}
    pools = {
        name: plan_pool(pool, (addresses or {}).get(name))
        for name, pool in _pools_of(manifests, namespace).items()
        if name in used
    }
    _check_secrets(manifests, namespace, pools, problems)
    winners = _model_winners(manifests, routes, problems)
    planned = {}
    for key, route in sorted(routes.items(), key=lambda item: item[0]):
        _check_pools(manifests, key, route, pools, problems)
        models = [model for model in route.spec.models if winners[model] == key]
        compiled = plan_route(route.spec, pools, models) if models else None
        if compiled is not None:
            planned[key[1]] = compiled
    config = RouterConfig(router=router, namespace=namespace, pools=pools, routes=planned)
    content = config.model_dump(mode="json", exclude_defaults=True, exclude={"version"})
    config = config.model_copy(update={"version": content_version(content)})
    return PlannedRouter(config, problems)


def _pools_of(manifests: Manifests, namespace: str) -> dict[str, ModelPool]:
    return {key[1]: pool for key, pool in sorted(manifests.pools.items()) if key[0] == namespace}


def _model_winners(
    manifests: Manifests, routes: Mapping[Key, ModelRoute], problems: list[Problem]
) -> dict[str, Key]:
    """Which route serves each virtual model: the oldest that claims it, then the first by name."""
    winners: dict[str, Key] = {}
    by_age = sorted(
        routes.items(), key=lambda item: (item[1].metadata.creation_timestamp or "", item[0])
    )
    for key, route in by_age:
        for index, model in enumerate(route.spec.models):
            winner = winners.setdefault(model, key)
            if winner != key:
                text = f"{model} is already served by ModelRoute {winner[0]}/{winner[1]}"
                location = ("spec", "models", index)
                problems.append(manifests.locate("ModelRoute", key, location, text))
    return winners


def _check_pools(
    manifests: Manifests,
    key: Key,
    route: ModelRoute,
    pools: Mapping[str, PoolConfig],
    problems: list[Problem],
) -> None:
    for index, name in enumerate(route.spec.pools):
        if name not in pools:
            text = f"there is no ModelPool {key[0]}/{name}; apply it, or remove it here"
            location = ("spec", "pools", index)
            problems.append(manifests.locate("ModelRoute", key, location, text))


def _check_secrets(
    manifests: Manifests,
    namespace: str,
    pools: Mapping[str, PoolConfig],
    problems: list[Problem],
) -> None:
    for name, pool in pools.items():
        if pool.credential is None:
            continue
        secret = manifests.secrets.get((namespace, pool.credential.secret))
        text, part = "", "name"
        if secret is None:
            text = f"there is no Secret {namespace}/{pool.credential.secret}"
        elif pool.credential.key not in secret.values:
            text = f"Secret {pool.credential.secret} has no key {pool.credential.key}"
            part = "key"
        if text:
            location = ("spec", "provider", "credentials", "secretRef", part)
            text += "; until it is there, no request is sent to this pool"
            problems.append(manifests.locate("ModelPool", (namespace, name), location, text))
