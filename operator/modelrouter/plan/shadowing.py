"""What a route with `shadowOf` is the shadow of, and what is said where it cannot be one."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from modelrouter.api.route import ModelRoute, ModelRouteSpec
from modelrouter.plan.verdicts import Verdict, yes


class Shadowing(Enum):
    """Whether a shadow has a route to follow."""

    FOUND = "Found"
    MISSING = "Missing"
    """The router serves no route of this name."""
    SHADOW = "Shadow"
    """The route is a shadow, too, or it is this one."""


def find_shadowed(spec: ModelRouteSpec, routes: Mapping[str, ModelRoute]) -> Shadowing | None:
    """What a route is the shadow of, among those of its router; None: it is no shadow."""
    if spec.shadow_of is None:
        return None
    shadowed = routes.get(spec.shadow_of)
    if shadowed is None:
        return Shadowing.MISSING
    return Shadowing.SHADOW if shadowed.spec.shadow_of is not None else Shadowing.FOUND


def shadow_problem(spec: ModelRouteSpec, namespace: str, found: Shadowing | None) -> str:
    """Why a route cannot be the shadow that it says it is, and what to do; empty: it can, or it
    says nothing of the kind."""
    if found is Shadowing.MISSING:
        return (
            f"router {spec.router} has no ModelRoute {namespace}/{spec.shadow_of}; create it, "
            "correct spec.shadowOf, or give both routes the same spec.router"
        )
    if found is Shadowing.SHADOW:
        return (
            f"ModelRoute {namespace}/{spec.shadow_of} is a shadow itself and serves no requests; "
            "name a route without shadowOf in spec.shadowOf"
        )
    return ""


def shadow_ready(spec: ModelRouteSpec, namespace: str) -> Verdict:
    """What `Ready` says of a shadow at work."""
    return yes(
        "Shadow",
        "the route serves no traffic: it decides the requests of ModelRoute "
        f"{namespace}/{spec.shadow_of} without effect; to let it serve models, take spec.shadowOf "
        "out",
    )
