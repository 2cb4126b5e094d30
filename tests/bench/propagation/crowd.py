"""Manifests: the route that is changed, and a thousand others beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

ROUTE = "changed"
BLUE, GREEN = "blue", "green"
"""The two pools between which its traffic moves."""

Manifest = dict[str, Any]


def changed_route(target: str) -> Manifest:
    """The route, with all of its traffic for one pool."""
    weights = [{"pool": name, "weight": 100 if name == target else 0} for name in (BLUE, GREEN)]
    rules = [{"name": "default", "targets": weights}]
    return _resource(
        "ModelRoute", ROUTE, {"models": [ROUTE], "pools": [BLUE, GREEN], "rules": rules}
    )


def changed_pools(servers: Sequence[str]) -> list[Manifest]:
    """Its pools."""
    return [pool(BLUE, servers[0]), pool(GREEN, servers[1])]


def pool(name: str, *servers: str) -> Manifest:
    """A pool of fixed addresses, with the attributes that teams give theirs."""
    spec = {
        "model": f"acme/{name}-8b-instruct",
        "endpoints": list(servers),
        "contextWindow": 131072,
        "features": ["tools", "jsonSchema"],
        "zone": "eu",
        "dataClasses": ["public", "internal"],
        "price": {"input": "0.15", "output": "0.60"},
    }
    return _resource("ModelPool", name, spec)


def crowd(routes: int, pools: int, servers: Sequence[str]) -> Iterator[Manifest]:
    """Many routes, of four rules and three pools each, over pools that they share."""
    for number in range(pools):
        yield pool(f"pool-{number:03}", servers[number % len(servers)])
    for number in range(routes):
        first, second, third = (f"pool-{(number + step) % pools:03}" for step in (0, 1, 7))
        rules = [
            {
                "name": "confidential",
                "match": {"dataClasses": ["internal"]},
                "targets": [{"pool": third}],
                "failover": ["None"],
            },
            {
                "name": "testers",
                "match": {"headers": [{"name": "x-team", "regex": "^(qa|test)-[a-z]+$"}]},
                "targets": [{"pool": second}],
            },
            {
                "name": "long-prompts",
                "match": {"promptTokens": {"min": 60000}},
                "targets": [{"pool": second}],
            },
            {
                "name": "default",
                "targets": [{"pool": first, "weight": 80}, {"pool": second, "weight": 20}],
            },
        ]
        spec = {
            "models": [f"model-{number:04}"],
            "pools": [first, second, third],
            "rules": rules,
            "failover": [first, second],
            "sticky": {"by": "Session", "header": "x-session-id"},
        }
        yield _resource("ModelRoute", f"route-{number:04}", spec)


def _resource(kind: str, name: str, spec: Manifest) -> Manifest:
    return {
        "apiVersion": "modelrouter.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }
