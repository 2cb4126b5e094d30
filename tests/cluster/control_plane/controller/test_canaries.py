"""Canaries from their beginning to their end, by figures that router pods tell.

The clock is real and the steps are short. That routers send requests by the weights is tested
elsewhere: here it is their configuration that has to have them.
"""

from __future__ import annotations

import time
from pathlib import Path

from cluster.control_plane.controller.canaries import Stage, figures, following
from cluster.control_plane.controller.operators import Installation, Operator
from cluster.control_plane.controller.waiting import eventually
from component.router.manifests import route


def test_a_good_candidate_is_promoted_step_by_step_and_then_nothing_is_written(
    operator: Operator, installation: Installation, stage: Stage, tmp_path: Path
) -> None:
    stage.begin()
    with following(stage.here, tmp_path / "places") as places:
        stage.measure(figures())
        stage.reaches(("Progressing", 2, 25))
        eventually(lambda: stage.weights() == {"old": 3, "new": 1})
        found = stage.reaches(("Promoted", 3, 100))
        seen = [place for place in places() if place[0] != "Pending"]
    assert seen == [
        ("Progressing", 1, 5), ("Progressing", 2, 25), ("Progressing", 3, 50), ("Promoted", 3, 100),
    ]  # fmt: skip
    assert "put new in place of old at the head of spec.pools" in found["message"]
    eventually(lambda: stage.weights() == {"new": 1})
    eventually(lambda: stage.told_weights() == {"new": 1})
    eventually(lambda: stage.reasons() == [
        "CanaryStarted", "CanaryStepped", "CanaryStepped", "CanaryPromoted",
    ])  # fmt: skip
    assert operator.metric("modelrouter_canary_weight", route="chat", pool="new") == 100
    assert operator.metric("modelrouter_canary_phase", route="chat", phase="Promoted") == 1
    assert operator.metric("modelrouter_canary_analyses_total", outcome="Passing") >= 3
    operator.settle()
    count = len(installation.writes())
    worked = operator.metric("modelrouter_reconcile_total", queue="canaries")
    time.sleep(5)
    assert installation.writes(since=count) == []
    assert operator.metric("modelrouter_reconcile_total", queue="canaries") == worked

    # What the message says is done: nothing moves, and nothing is left of the canary.
    stage.here.apply(route("chat", pools=["new", "old"]))
    eventually(lambda: stage.status() == {})
    assert stage.weights() == {"new": 1}
    assert operator.metric("modelrouter_canary_phase", route="chat") == 0


def test_each_candidate_is_rolled_back_by_its_own_check_all_on_one_router(stage: Stage) -> None:
    bad = {
        "failing": (figures(errors=60), {"metric": "successRate", "min": "0.99"}),
        "slow": (figures(milliseconds=400), {"metric": "p95Latency", "maxRatioToStable": "1.3"}),
        "costly": (figures(dollars=0.05), {"metric": "costPerRequest", "max": "0.02"}),
        "poor": (figures(score=0.4), {"metric": "quality", "minRatioToStable": "0.9"}),
    }
    good = {"metric": "successRate", "min": "0.9"}
    for name, (_, check) in bad.items():
        stage.begin(name, analysis={"interval": "1s", "checks": [check]})
    stage.begin("good", analysis={"interval": "1s", "checks": [good]})
    for name, (candidate, _) in bad.items():
        stage.measure(candidate, name=name)
    stage.measure(figures(), name="good")
    for name, (_, check) in bad.items():
        found = stage.reaches(("RolledBack", 1, 0), name=name)
        assert [(c["name"], c["outcome"]) for c in found["checks"]] == [(check["metric"], "Fail")]
        eventually(lambda n=name: stage.weights(n) == {"old": 1})
        eventually(lambda n=name: "CanaryRolledBack" in stage.reasons(n))
    stage.reaches(("Promoted", 3, 100), name="good")


def test_a_hard_limit_rolls_back_within_five_seconds(stage: Stage) -> None:
    limit = {"metric": "errorRate", "max": "0.2", "window": "30s", "minRequests": 20}
    steps = [{"weight": 50, "pause": "1h"}]
    stage.begin(steps=steps, analysis={"interval": "1h", "hardLimits": [limit]})
    stage.measure(figures(100, errors=10))
    stage.reaches(("Progressing", 1, 50))
    eventually(lambda: stage.weights() == {"old": 1, "new": 1})
    time.sleep(3)
    assert stage.place() == ("Progressing", 1, 50)
    began = time.monotonic()
    stage.measure(figures(100, errors=50))
    eventually(lambda: stage.weights() == {"old": 1}, within=5, every=0.05)
    assert time.monotonic() - began < 5
    assert "hard limit" in stage.reaches(("RolledBack", 1, 0))["message"]


def test_too_little_is_inconclusive_and_a_silent_pod_is_named(stage: Stage) -> None:
    stage.begin()
    stage.measure(figures(20))
    stage.reaches(("Progressing", 1, 5))
    eventually(lambda: stage.status().get("analysis") == "Inconclusive")
    time.sleep(4)
    assert stage.place() == ("Progressing", 1, 5)
    eventually(lambda: stage.reasons() == ["CanaryStarted", "CanaryInconclusive"])
    stage.pod.silent = True
    eventually(lambda: f"without the figures of {stage.pod.name}" in stage.status()["message"])
    stage.pod.silent = False
    stage.measure(figures())
    stage.reaches(("Progressing", 2, 25))


def test_a_candidate_that_is_missing_or_not_ready_is_waited_for(stage: Stage) -> None:
    stage.pod.tell("new", 0, ready=0)
    stage.begin()
    found = stage.reaches(("Pending", 0, 0))
    assert "new" in found["message"]
    time.sleep(3)
    assert stage.place() == ("Pending", 0, 0)
    assert stage.weights() == {"old": 1}
    stage.pod.tell("new", 0, ready=1)
    stage.reaches(("Progressing", 1, 5))
