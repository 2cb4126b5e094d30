"""Resources → one RouterConfig, and what is wrong with the references between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from modelrouter.api.manifests import Key, Manifests
from modelrouter.api.pool_name import adapter_of, pool_of
from modelrouter.api.problems import Problem
from modelrouter.api.router_config import RouterConfig, content_version
from modelrouter.plan.planner import PlannedRoutes, RouterPlanner
from modelrouter.plan.shadowing import shadow_problem


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
    routes = {
        key[1]: route
        for key, route in manifests.routes.items()
        if key[0] == namespace and route.spec.router == router
    }
    pools = {key[1]: pool for key, pool in manifests.pools.items() if key[0] == namespace}
    planned = RouterPlanner().plan(routes, pools, addresses=addresses)
    config = RouterConfig(
        router=router, namespace=namespace, pools=planned.pools, routes=planned.routes
    )
    content = config.model_dump(mode="json", exclude_defaults=True, exclude={"version"})
    config = config.model_copy(update={"version": content_version(content)})
    problems: list[Problem] = []
    _check_secrets(manifests, namespace, planned, problems)
    _check_routes(manifests, namespace, planned, problems)
    return PlannedRouter(config, problems)


def _check_routes(
    manifests: Manifests, namespace: str, planned: PlannedRoutes, problems: list[Problem]
) -> None:
    for name, outcome in planned.outcomes.items():
        spec = manifests.routes[namespace, name].spec
        location: tuple[int | str, ...]
        for model, winner in outcome.conflicts.items():
            text = f"{model} is already served by ModelRoute {namespace}/{winner}"
            location = ("spec", "models", spec.models.index(model))
            problems.append(manifests.locate("ModelRoute", (namespace, name), location, text))
        if text := shadow_problem(spec, namespace, outcome.shadowing):
            location = ("spec", "shadowOf")
            problems.append(manifests.locate("ModelRoute", (namespace, name), location, text))
        for pool in outcome.missing_pools:
            text = f"there is no ModelPool {namespace}/{pool_of(pool)}; apply it, or remove it here"
            if (namespace, pool_of(pool)) in manifests.pools:
                text = (
                    f"ModelPool {namespace}/{pool_of(pool)} has no adapter {adapter_of(pool)}; add "
                    "it to spec.vllm.loraAdapters there, or remove it here"
                )
            location = ("spec", "pools", spec.pools.index(pool))
            problems.append(manifests.locate("ModelRoute", (namespace, name), location, text))


def _check_secrets(
    manifests: Manifests, namespace: str, planned: PlannedRoutes, problems: list[Problem]
) -> None:
    for name, pool in planned.pools.items():
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
