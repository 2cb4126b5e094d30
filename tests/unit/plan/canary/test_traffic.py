"""Weights of a canary: what is planned, and that requests only move to where they should."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from modelrouter.api.canary_status import CanaryStatus
from modelrouter.api.pool import ModelPool
from modelrouter.api.route import ModelRoute, ModelRouteSpec
from modelrouter.api.router_config import RouteConfig
from modelrouter.plan.canary.traffic import Split
from modelrouter.plan.facts import Subject
from modelrouter.plan.planner import RouterPlanner
from modelrouter.plan.routes import plan_route
from modelrouter.plan.statuses import RouteFacts, route_status
from modelrouter.policy.rendezvous import hashed, salt, score
from unit.plan.golden import cases, check, dump

CASES = cases("canaries")
NOON = "2026-01-01T12:00:00.000Z"
POOLS = {
    name: ModelPool.model_validate(
        {"metadata": {"name": name}, "spec": {"model": name, "endpoints": ["10.0.0.7:8000"]}}
    )
    for name in ("old", "new", "other")
}


def status_of(route: ModelRoute, told: dict[str, Any]) -> CanaryStatus:
    assert route.spec.canary is not None
    canary = route.spec.canary
    content = {
        "id": canary.id,
        "rule": canary.rule_name,
        "from": canary.stable,
        "to": canary.candidate,
        "steps": len(canary.steps),
        "since": NOON,
    }
    return CanaryStatus.model_validate(content | told)


def planned(text: str) -> list[dict[str, Any]]:
    """What routes come to, and the weights that their statuses tell."""
    routes, canaries = {}, {}
    for document in yaml.safe_load_all(text):
        told = document.pop("status", None)
        route = ModelRoute.model_validate(document)
        routes[route.metadata.name] = route
        if told is not None:
            canaries[route.metadata.name] = status_of(route, told)
    outcomes = RouterPlanner().plan(routes, POOLS, canaries=canaries).outcomes
    found = []
    for name, route in routes.items():
        config = outcomes[name].config
        assert config is not None
        facts = RouteFacts(Subject("ModelRoute", "ai", name, 1), route, outcomes[name])
        document = config.model_dump(mode="json", exclude_defaults=True)
        kept = {part: document.get(part) for part in ("rules", "fallthrough", "canary")}
        traffic = route_status(facts, None, NOON)["traffic"]
        found.append({"of": name, **kept, "traffic": traffic})
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_canaries_come_to_the_expected_rules(case: Path, request: pytest.FixtureRequest) -> None:
    check(case, dump(planned((case / "in.yaml").read_text())), request)


def route(targets: dict[str, int], **canary: Any) -> ModelRouteSpec:
    pools = list(dict.fromkeys([*targets, "new"]))
    told = {"rule": "default", "from": "old", "to": "new", "steps": [{"weight": 5}], **canary}
    rule = {
        "name": "default",
        "targets": [{"pool": name, "weight": weight} for name, weight in targets.items()],
    }
    return ModelRouteSpec.model_validate(
        {"models": ["m"], "pools": pools, "rules": [rule], "canary": told}
    )


def at(spec: ModelRouteSpec, weight: int, *, running: bool = True) -> RouteConfig:
    assert spec.canary is not None
    config = plan_route(spec, spec.pools, ["m"], Split(spec.canary, weight, running))
    assert config is not None
    return config


def weights(config: RouteConfig) -> dict[str, int]:
    return {target.pool: target.weight for target in config.rules[0].targets}


def placed(config: RouteConfig, sessions: int) -> list[str]:
    """Which pool each session goes to."""
    targets = [(t.pool, salt(t.pool), t.weight) for t in config.rules[0].targets if t.weight]
    return [
        max(targets, key=lambda target: score(target[1], key, target[2]))[0]
        for key in (hashed(f"session-{number}".encode()) for number in range(sessions))
    ]


some_weights = st.integers(0, 1_000_000)
growing = st.lists(st.integers(0, 100), min_size=1, max_size=6, unique=True).map(sorted)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    targets=st.fixed_dictionaries({"old": st.integers(1, 1_000_000)},
                                  optional={"new": some_weights, "other": some_weights}),
    weight=st.integers(0, 100),
)  # fmt: skip
def test_the_candidate_gets_its_part_of_the_stable_pool_and_nobody_else_notices(
    targets: dict[str, int], weight: int
) -> None:
    found = weights(at(route(targets), weight))
    total, before = sum(found.values()), sum(targets.values())
    moved = targets["old"] * weight
    expected = {
        **{name: 100 * own for name, own in targets.items()},
        "old": 100 * targets["old"] - moved,
        "new": 100 * targets.get("new", 0) + moved,
    }
    for name, share in expected.items():
        assert found.get(name, 0) * before * 100 == share * total, name


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(own=some_weights, stable=st.integers(1, 1_000_000), steps=growing)
def test_sessions_only_move_from_stable_to_candidate_while_the_weight_grows(
    own: int, stable: int, steps: list[int]
) -> None:
    spec = route({"old": stable, "new": own})
    stages = [placed(at(spec, weight), 500) for weight in (0, *steps, 100)]
    for before, after in pairwise(stages):
        moves = {(b, a) for b, a in zip(before, after, strict=True) if a != b}
        assert moves <= {("old", "new")}
    assert set(stages[-1]) == {"new"}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    targets=st.fixed_dictionaries(
        {"old": st.integers(1, 100), "new": st.integers(0, 100), "other": st.integers(1, 100)}
    ),
    steps=growing,
)
def test_with_other_targets_no_session_leaves_the_candidate(
    targets: dict[str, int], steps: list[int]
) -> None:
    spec = route(targets)
    stages = [placed(at(spec, weight), 500) for weight in (0, *steps, 100)]
    for before, after in pairwise(stages):
        assert all(a == "new" for b, a in zip(before, after, strict=True) if b == "new")


@pytest.mark.parametrize("weight", [1, 5, 25, 50, 90])
def test_the_split_converges_to_the_weight(weight: int) -> None:
    sessions = 20_000
    found = placed(at(route({"old": 1}), weight), sessions).count("new") / sessions
    # Five standard deviations of a binomial share.
    share = weight / 100
    assert abs(found - share) < 5 * (share * (1 - share) / sessions) ** 0.5


@given(
    targets=st.fixed_dictionaries(
        {"old": st.integers(1, 1_000_000)}, optional={"other": st.integers(1, 1_000_000)}
    )
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_nothing_moves_when_the_spec_takes_over_from_a_promoted_canary(
    targets: dict[str, int],
) -> None:
    assume(sum(targets.values()) > 0)
    promoted = at(route(targets), 100, running=False)
    rewritten = {("new" if name == "old" else name): own for name, own in targets.items()}
    spec = ModelRouteSpec.model_validate(
        {
            "models": ["m"],
            "pools": list(rewritten),
            "rules": [
                {
                    "name": "default",
                    "targets": [{"pool": p, "weight": w} for p, w in rewritten.items()],
                }
            ],
        }
    )
    after = plan_route(spec, spec.pools, ["m"])
    assert after is not None
    assert placed(promoted, 500) == placed(after, 500)


def test_a_canary_that_is_unchanged_is_not_planned_again() -> None:
    planner = RouterPlanner()
    chat = ModelRoute(metadata={"name": "chat"}, spec=route({"old": 1}))  # type: ignore[arg-type]
    told = {"phase": "Progressing", "step": 1, "weight": 5, "message": "step 1 of 1"}
    first = planner.plan({"chat": chat}, POOLS, canaries={"chat": status_of(chat, told)})
    told = {**told, "message": "step 1 of 1; all is well", "analysis": "Passing"}
    again = planner.plan({"chat": chat}, POOLS, canaries={"chat": status_of(chat, told)})
    assert again.routes["chat"] is first.routes["chat"]
    assert again.version == first.version
    told = {**told, "weight": 25}
    later = planner.plan({"chat": chat}, POOLS, canaries={"chat": status_of(chat, told)})
    assert later.version != first.version
