"""What people are told of their resources, in every state that they can be in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelrouter.api.status import ModelPoolStatus, ModelRouteStatus
from modelrouter.plan.statuses import transitions
from unit.plan.cluster_state import Cluster
from unit.plan.golden import cases, check, dump

CASES = cases("statuses")
NOON, ONE = "2026-01-01T12:00:00Z", "2026-01-01T13:00:00Z"


def cluster(case: Path) -> Cluster:
    return Cluster((case / "in.yaml").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_resources_get_the_expected_statuses(case: Path, request: pytest.FixtureRequest) -> None:
    statuses = cluster(case).statuses(NOON)
    for status in statuses.values():
        for condition in status["conditions"]:
            assert condition.pop("lastTransitionTime") == NOON
            assert condition.pop("observedGeneration") == status["observedGeneration"]
    documents = [{"of": name, **status} for name, status in statuses.items()]
    check(case, dump(documents), request)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_statuses_are_what_the_api_server_takes(case: Path) -> None:
    for name, status in cluster(case).statuses(NOON).items():
        model = ModelPoolStatus if name.startswith("ModelPool/") else ModelRouteStatus
        model.model_validate(status)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_equal_facts_give_an_equal_status_at_any_time(case: Path) -> None:
    first = cluster(case).statuses(NOON)
    second = cluster(case).statuses(ONE, old=first)
    assert first == second
    for name, status in second.items():
        assert transitions(first[name], status) == []


WALK = """
apiVersion: modelrouter.dev/v1alpha1
kind: ModelPool
metadata: {name: gpt, generation: 1}
spec:
  model: gpt
  provider: {kind: OpenAI, credentials: {secretRef: {name: openai, key: api-key}}}
---
apiVersion: modelrouter.dev/v1alpha1
kind: ModelRoute
metadata: {name: chat, generation: 1}
spec: {models: [chat], pools: [gpt]}
---
kind: State
secrets: {openai: [api-key]}
routers: {default: {pods: [{name: pod-a, pools: {gpt: [1, 1]}}]}}
"""


class Walk:
    """A cluster that changes, and what is told at each step."""

    def __init__(self) -> None:
        self.cluster = Cluster(WALK)
        self.statuses: dict[str, Any] = {}
        self.hour = 0

    def step(self) -> dict[str, list[str]]:
        """By resource, the Events of this step, as `Type Reason`."""
        self.hour += 1
        before = self.statuses
        self.statuses = self.cluster.statuses(f"2026-01-01T{self.hour:02}:00:00Z", before)
        return {
            name.partition("/")[2]: [
                f"{event.type} {event.reason}" for event in transitions(before.get(name), status)
            ]
            for name, status in self.statuses.items()
        }

    def condition(self, name: str, kind: str) -> tuple[str, str, int]:
        """Status, reason and the hour of the last transition."""
        found = next(c for c in self.statuses[name]["conditions"] if c["type"] == kind)
        return found["status"], found["reason"], int(found["lastTransitionTime"][11:13])


def test_a_walk_through_trouble_and_back() -> None:
    walk = Walk()
    state = walk.cluster.state
    route, pool = "ModelRoute/chat", "ModelPool/gpt"

    assert walk.step() == {"gpt": ["Normal EndpointsReady"], "chat": ["Normal Ready"]}
    assert walk.condition(route, "Ready") == ("True", "Ready", 1)

    state["secrets"] = {"openai": "missing"}
    state["routers"]["default"]["pods"][0]["pools"] = {"gpt": [0, 0]}
    assert walk.step() == {
        "gpt": ["Warning SecretNotFound"],
        "chat": ["Warning SecretNotFound", "Warning NoEndpoints"],
    }
    assert walk.condition(pool, "Ready") == ("False", "SecretNotFound", 2)
    assert walk.condition(route, "ResolvedRefs") == ("False", "SecretNotFound", 2)
    assert walk.condition(route, "Ready") == ("False", "NoEndpoints", 2)
    assert walk.condition(route, "Programmed") == ("True", "Programmed", 1)

    state["secrets"] = {"openai": ["other"]}
    assert walk.step() == {
        "gpt": ["Warning SecretKeyNotFound"],
        "chat": ["Warning SecretKeyNotFound"],
    }
    # Still not ready, since the same moment, for another reason.
    assert walk.condition(pool, "Ready") == ("False", "SecretKeyNotFound", 2)

    state["secrets"] = {"openai": ["api-key"]}
    state["routers"]["default"]["pods"][0]["pools"] = {"gpt": [1, 1]}
    assert walk.step() == {
        "gpt": ["Normal ResolvedRefs", "Normal EndpointsReady"],
        "chat": ["Normal ResolvedRefs", "Normal Ready"],
    }
    assert walk.condition(route, "Ready") == ("True", "Ready", 4)

    state["routers"]["default"]["pods"][0]["ready"] = False
    assert walk.step() == {"gpt": [], "chat": ["Warning RouterNotReady"]}
    assert walk.condition(pool, "Ready") == ("Unknown", "RouterNotReady", 5)

    state["routers"]["default"]["pods"][0]["ready"] = True
    assert walk.step() == {"gpt": ["Normal EndpointsReady"], "chat": ["Normal Ready"]}

    # A new generation is told when it is in force, not that it is on its way.
    state["programming"] = {"chat": "waiting for pod-a"}
    walk.cluster.objects[1]["metadata"]["generation"] = 2
    assert walk.step() == {"gpt": [], "chat": []}
    assert walk.condition(route, "Ready") == ("False", "Programming", 7)
    assert walk.statuses[route]["observedGeneration"] == 2
    state["programming"] = {}
    assert walk.step() == {"gpt": [], "chat": ["Normal Ready"]}

    del walk.cluster.objects[0]
    assert walk.step() == {"chat": ["Warning PoolNotFound"]}
    assert walk.condition(route, "Ready") == ("False", "PoolNotFound", 9)


def test_a_status_that_somebody_broke_is_made_anew() -> None:
    broken = {"ModelRoute/chat": {"conditions": ["odd", {"type": "Ready", "status": "True"}]}}
    statuses = Cluster(WALK).statuses(NOON, broken)
    assert statuses == Cluster(WALK).statuses(NOON)
    assert transitions(broken["ModelRoute/chat"], statuses["ModelRoute/chat"])


def test_a_very_long_reason_stays_within_what_the_api_takes() -> None:
    cluster = Cluster(WALK)
    cluster.state["programming"] = {"chat": "x" * 100_000}
    status = cluster.statuses(NOON)["ModelRoute/chat"]
    assert all(len(condition["message"]) <= 4096 for condition in status["conditions"])


def test_every_reason_is_explained_to_people() -> None:
    documented = (Path(__file__).parents[3] / "docs" / "status.md").read_text()
    reasons = {
        condition["reason"]
        for case in CASES
        for status in cluster(case).statuses(NOON).values()
        for condition in status["conditions"]
    }
    assert len(reasons) > 15
    assert {reason for reason in reasons if f"`{reason}`" not in documented} == set()
