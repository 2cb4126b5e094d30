"""A route with `shadowOf` decides another one's requests and changes none of its decisions."""

from __future__ import annotations

from modelrouter.api.router_config import RouteConfig
from modelrouter.policy.compiling import Policy, compile_policy
from modelrouter.policy.deciding import decide_by
from modelrouter.policy.refusal import Refusal
from modelrouter.policy.sharing import shared
from unit.policy.builders import config, facts, pool, route, rule, went

POOLS = {"a": pool(), "b": pool()}
LIVE = route(["a"], rule("default", "a"))


def shadow(of: str = "live", *, to: str = "b") -> RouteConfig:
    return route([to], rule("default", to)).model_copy(update={"models": [], "shadow_of": of})


def compiled(**routes: RouteConfig) -> Policy:
    return compile_policy(config(POOLS, **routes))


def test_a_shadow_serves_nothing() -> None:
    policy = compiled(live=LIVE, trial=shadow())
    assert set(policy.by_model) == {"assistant"}
    assert went(policy).route == "live"
    assert went(policy) == went(compiled(live=LIVE))


def test_shadows_are_found_by_the_route_that_they_follow() -> None:
    policy = compiled(live=LIVE, trial=shadow(), other=shadow(to="a"), lost=shadow("gone"))
    assert [one.name for one in policy.shadows["live"]] == ["trial", "other"]
    assert decide_by(policy.shadows["live"][0], facts(), {}).pools == ("b",)


def test_a_shadow_that_goes_is_forgotten() -> None:
    policy = compiled(live=LIVE, trial=shadow())
    *_, after = policy.replacing(config(POOLS, live=LIVE))
    assert after.shadows == {}


def test_a_shadow_decides_whichever_model_is_asked_for() -> None:
    by_model = route(["b", "a"], rule("mine", "b", models=["assistant"]), rule("rest", "a"))
    by_model = by_model.model_copy(update={"models": [], "shadow_of": "live"})
    trial = compiled(live=LIVE, trial=by_model).shadows["live"][0]
    assert decide_by(trial, facts(), {}).pools == ("b",)
    assert decide_by(trial, facts(model="another"), {}).pools == ("a",)


def test_routes_with_a_shadow_share_no_decision_and_others_do() -> None:
    without, with_one = compiled(live=LIVE), compiled(live=LIVE, trial=shadow())
    assert shared(facts(), went(without), without, {}) is not None
    assert shared(facts(), went(with_one), with_one, {}) is None
    other = compiled(live=LIVE, trial=shadow("another"))
    assert shared(facts(), went(other), other, {}) is not None


def test_a_refusal_of_a_shadow_is_its_own() -> None:
    picky = {"a": pool(), "b": pool(window=5)}
    policy = compile_policy(config(picky, live=LIVE, trial=shadow()))
    request = facts(prompt_tokens=100)
    assert went(policy, request).refusal is None
    assert isinstance(decide_by(policy.shadows["live"][0], request, {}).refusal, Refusal)
