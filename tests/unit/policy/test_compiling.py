"""Given a changed configuration, a new policy takes over what has not changed."""

from __future__ import annotations

import pytest

from modelrouter.api.router_config import (
    HeaderCondition,
    PoolConfig,
    RouteConfig,
    RouterConfig,
    RuleConfig,
)
from modelrouter.policy.compiling import Policy, compile_policy
from unit.policy.builders import config, pool, route, rule

POOLS = {"a": pool(), "b": pool()}
ROUTES = {
    "one": route(["a"], rule("default", "a"), models=["m1", "m1-alias"]),
    "two": route(["a", "b"], rule("default", "b"), models=["m2"]),
}


def copied(route_config: RouteConfig) -> RouteConfig:
    return RouteConfig.model_validate(route_config.model_dump())


def replaced(before: Policy, changed: RouterConfig) -> Policy:
    *_, after = before.replacing(changed)
    return after


def test_routes_are_found_by_model_and_by_name() -> None:
    policy = compile_policy(config(POOLS, **ROUTES))
    assert policy.by_model["m1"] is policy.by_model["m1-alias"] is policy.routes["one"]
    assert policy.routes["two"].config == ROUTES["two"]
    assert [known.name for known in policy.routes["two"].pools] == ["a", "b"]


def test_what_has_not_changed_is_taken_over() -> None:
    before = compile_policy(config(POOLS, **ROUTES))
    changed = route(["a"], rule("other", "a"), models=["m1"])
    after = replaced(before, config(POOLS, one=changed, two=copied(ROUTES["two"])))
    assert after.routes["two"] is before.routes["two"]
    assert after.routes["one"] is not before.routes["one"]
    assert "m1-alias" not in after.by_model
    assert "m1-alias" in before.by_model


def test_a_changed_pool_changes_the_routes_that_use_it() -> None:
    before = compile_policy(config(POOLS, **ROUTES))
    after = replaced(before, config({**POOLS, "b": pool(window=5)}, **ROUTES))
    assert after.routes["one"] is before.routes["one"]
    assert after.routes["two"].rules[0].smallest_window == 5


def test_a_removed_route_is_gone() -> None:
    before = compile_policy(config(POOLS, **ROUTES))
    after = replaced(before, config(POOLS, two=ROUTES["two"]))
    assert set(after.by_model) == {"m2"}


def test_the_first_route_keeps_a_model_that_two_claim() -> None:
    again = route(["b"], rule("default", "b"), models=["m1", "m3"])
    policy = compile_policy(config(POOLS, **ROUTES, three=again))
    assert policy.by_model["m1"].name == "one"
    assert policy.by_model["m3"].name == "three"


def test_compiling_takes_a_step_per_pool_and_route() -> None:
    headers = [HeaderCondition(name="x-team", regex=f"team-{number}") for number in range(16)]
    rules = [rule(f"r{number}", "a", headers=headers) for number in range(15)]
    routes = {
        f"route-{number}": route(["a", "b"], *rules, rule("default", "a"), models=[f"m{number}"])
        for number in range(50)
    }
    before = Policy()
    *steps, after = before.replacing(config(POOLS, **routes))
    assert len(steps) == 2 + 50
    assert all(step is before for step in steps)
    assert not before.routes
    assert len(after.routes) == 50


@pytest.mark.parametrize(
    ("pools", "the_route", "words"),
    [
        ({}, route(["a"], rule("default", "a")), "route r: pool a is allowed but not defined"),
        (POOLS, route(["a"], rule("default", "b")), "rule default: pool b is not among"),
        (POOLS, route(["a"], rule("default", "a", failover=["b"])), "pool b is not among"),
        (POOLS, route(["a"]), "the last rule must match every request"),
        (POOLS, route(["a"], rule("x", "a", models=["m"])), "the last rule must match every"),
        (
            POOLS,
            route(["a"], rule("x", "a", headers=[HeaderCondition(name="h", regex="(")])),
            "route r, rule x: header h: regex '\\(' does not compile",
        ),
        (
            POOLS,
            route(["a"], rule("x", "a", headers=[HeaderCondition(name="h")])),
            "header h: exactly one of",
        ),
    ],
)
def test_a_document_that_cannot_be_kept_is_refused(
    pools: dict[str, PoolConfig], the_route: RouteConfig, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        compile_policy(config(pools, r=the_route))


def test_a_target_without_weight_is_not_a_target() -> None:
    only_b: RuleConfig = rule("default", {"a": 0, "b": 1})
    policy = compile_policy(config(POOLS, r=route(["a", "b"], only_b)))
    assert [known.name for known in policy.routes["r"].rules[0].pools] == ["b"]
