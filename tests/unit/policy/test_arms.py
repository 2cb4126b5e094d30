"""Which side of a canary is a request meant for? Its reason tells."""

from __future__ import annotations

from collections import Counter

import pytest

from modelrouter.api.autoscaling import OnColdStart
from modelrouter.api.route import StickyBy
from modelrouter.api.router_config import CanaryConfig, PoolConfig, RouteConfig, RuleConfig
from modelrouter.policy.compiling import Policy
from modelrouter.policy.sharing import shared
from modelrouter.policy.state import PoolState, State
from modelrouter.router.decisions.replies import plan_of
from modelrouter.router.envoy.foreseen import foreseen_plans
from unit.policy.builders import COLD, DEAD, config, facts, policy, pool, route, rule, state, went

CANARY = CanaryConfig(id="2394bac1", rule="default", stable="old", candidate="new")
THREE = {name: pool() for name in ("old", "new", "other")}
SPLIT = rule("default", {"old": 50, "new": 40, "other": 10}, failover=["old", "new", "other"])
BOTH = rule("default", {"old": 1, "new": 1}, failover=["old", "new"])


def splitting(*rules: RuleConfig, sticky: StickyBy | None = None) -> RouteConfig:
    made = route(["old", "new", "other"], *rules, sticky=sticky)
    return made.model_copy(update={"canary": CANARY})


def decided(
    the_policy: Policy, known: State | None = None, tokens: int = 10, number: int = 200
) -> list[tuple[str, str]]:
    """First pool and reason of so many requests."""
    decisions = [
        went(the_policy, facts(request_id=f"r{n}", prompt_tokens=tokens), known)
        for n in range(number)
    ]
    return [
        (decision.pools[0] if decision.pools else "", decision.reason) for decision in decisions
    ]


def test_the_reason_tells_the_arm_that_the_weights_chose() -> None:
    assert set(decided(policy(THREE, splitting(SPLIT)))) == {
        ("old", "rule:default; stable"),
        ("new", "rule:default; canary"),
        ("other", "rule:default"),
    }


def test_without_a_canary_reasons_are_plain() -> None:
    assert {reason for _, reason in decided(policy(THREE, route(list(THREE), SPLIT)))} == {
        "rule:default"
    }


def test_only_the_first_rule_of_the_name_is_split() -> None:
    segment = rule("default", {"old": 1, "new": 1}, classes=["internal"]).model_copy(
        update={"segment": True}
    )
    rest = rule("default", "old")
    pools = {name: pool(classes=["internal"]) for name in THREE}
    the_policy = policy(pools, splitting(rule("early", "old", models=["x"]), segment, rest))
    assert went(the_policy).reason == "rule:default"
    inside = went(the_policy, facts(classes=("internal",))).reason
    assert inside in ("rule:default; stable", "rule:default; canary")


def test_a_segment_needs_a_data_class_of_its_own() -> None:
    both = rule("default", {"old": 1, "new": 1}, classes=["internal", "secret"])
    conditions = both.conditions.model_copy(update={"segment_data_classes": ["Secret"]})
    segment = both.model_copy(update={"conditions": conditions, "segment": True})
    classes = {"internal", "secret"}
    pools = {name: pool(classes=sorted(classes)) for name in THREE}
    the_policy = policy(pools, splitting(segment, rule("default", "old")))
    assert went(the_policy, facts(classes=("internal",))).reason == "rule:default"
    for asked in (("secret",), ("internal", "secret")):
        assert went(the_policy, facts(classes=asked)).reason.startswith("rule:default; ")


@pytest.mark.parametrize("gone", [DEAD, PoolState(ready=2, endpoints=2, in_flight=2)])
def test_a_request_stays_in_its_arm_when_another_pool_answers(gone: PoolState) -> None:
    pools = {name: pool(limit=1) for name in THREE}
    healthy = decided(policy(pools, splitting(BOTH)))
    known = state(new=gone, old=PoolState(ready=9, endpoints=9))
    away = decided(policy(pools, splitting(BOTH)), known)
    assert {first for first, _ in away} == {"old"}
    what = "unhealthy" if gone is DEAD else "saturated"
    assert [reason for _, reason in away] == [f"{reason}; new {what}" for _, reason in healthy]


def test_the_arm_is_told_before_all_else() -> None:
    known = state(old=DEAD, new=DEAD)
    reasons = {reason for _, reason in decided(policy(THREE, splitting(BOTH)), known)}
    assert reasons == {
        "rule:default; stable; no healthy pool, old unhealthy, new unhealthy",
        "rule:default; canary; no healthy pool, old unhealthy, new unhealthy",
    }


def test_a_request_that_one_arm_may_never_get_is_in_none() -> None:
    pools = {**THREE, "new": pool(window=100)}
    assert set(decided(policy(pools, splitting(BOTH)), tokens=200)) == {
        ("old", "rule:default; new window")
    }


def test_a_request_that_waits_for_a_cold_candidate_is_in_its_arm() -> None:
    pools = {**THREE, "new": pool(cold_start=OnColdStart.WAIT)}
    found = Counter(decided(policy(pools, splitting(BOTH)), state(new=COLD)))
    assert set(found) == {
        ("old", "rule:default; stable; new cold"),
        ("new", "rule:default; canary; new cold"),
    }


@pytest.mark.parametrize("sticky", [None, StickyBy.SESSION])
def test_what_is_shared_tells_the_arm_as_well(sticky: StickyBy | None) -> None:
    the_policy = policy(THREE, splitting(SPLIT, sticky=sticky))
    request = facts()
    common = shared(request, went(the_policy, request), the_policy, {})
    assert common is not None
    by_first = {one.decision.pools[0]: one.decision for one in common.alternatives}
    for number in range(100):
        decision = went(the_policy, facts(request_id=f"r{number}"))
        assert decision == by_first[decision.pools[0]]


def test_envoy_knows_the_plans_of_both_arms_beforehand() -> None:
    pools: dict[str, PoolConfig] = {
        **THREE,
        "new": pool(window=100).model_copy(update={"addresses": ["10.0.0.7:1", "10.0.0.8:1"]}),
    }
    made = splitting(BOTH)
    known = {plan.key for plan in foreseen_plans("support", made, pools)}
    for tokens in (10, 200):
        for number in range(20):
            request = facts(request_id=f"r{number}", prompt_tokens=tokens)
            decision = went(policy(pools, made), request, state(old=PoolState(1, 1)))
            if not decision.rejected:
                assert plan_of(decision, ("5xx",)).key in known
    plain = {plan.key for plan in foreseen_plans("support", route(list(THREE), BOTH), pools)}
    assert plain < known


def test_a_change_of_the_arms_is_a_change_of_the_route() -> None:
    made = splitting(BOTH)
    later = made.model_copy(
        update={"canary": CANARY.model_copy(update={"stable": "new", "candidate": "old"})}
    )
    before = policy(THREE, made)
    *_, after = before.replacing(config(THREE, support=later))
    assert after.routes["support"] is not before.routes["support"]
