"""Canaries from their beginning to their end, with everything real but the models' answers.

All of them are on one router and most go on at once: a test waits for the ones it is about. What
the clients of good candidates saw is looked at last.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from chaos.stage import set_faults
from cluster.control_plane.controller.waiting import eventually
from cluster.kubernetes.access import Kubernetes
from cluster.node.away import operator_pods, restarts, signal_containers
from cluster.node.canarying import ROUTERS, Stage, canary, staged

BAD = {
    "slow": "p95FirstToken",
    "failing": "successRate",
    "costly": "costPerRequest",
    "poor": "quality",
}
"""Candidates, and the check that finds out."""
CHECKS = [
    {"metric": "successRate", "min": "0.9"},
    {"metric": "p95FirstToken", "maxRatioToStable": "3"},
    {"metric": "costPerRequest", "maxRatioToStable": "1.5"},
]
QUALITY = {"metric": "quality", "minRatioToStable": "0.8"}
GOOD = ("good", "twin", "manual", "steered", "again", "enduring")
"""Routes whose callers must not notice anything."""
STEPS = {"good": (20, 45, 80), "twin": (25, 60)}
"""Weights of two canaries that go on side by side."""
WEIGHTS = (5, 25, 50)
SPLIT_REQUESTS = 5000


@pytest.fixture(scope="module")
def stage(
    kubernetes: Kubernetes, operator: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """With good and bad candidates, and one that hardly anybody asks, all under way."""
    began = time.monotonic()
    with staged(kubernetes, tmp_path_factory.mktemp("canaries")) as found:
        print(f"\nset up in {time.monotonic() - began:.0f} s")
        enough = {"minRequests": 20, "checks": CHECKS}
        rated = {"minRequests": 20, "checks": [*CHECKS, QUALITY]}
        few = {"minRequests": 500, "checks": CHECKS}
        found.begin(
            canary("good", "better", STEPS["good"], analysis=enough),
            canary("twin", "better", STEPS["twin"], analysis=enough),
            canary("quiet", "better", (10, 50), analysis=few),
            *(canary(name, name, (50, 80), analysis=rated) for name in BAD),
        )
        found.callers.begin("good", 16)
        found.callers.begin("twin", 16)
        found.callers.begin("quiet", 2)
        for name in BAD:
            found.callers.begin(name, 8, {"stable": 0.8, name: 0.3 if name == "poor" else 0.8})
        yield found
    print(f"all in {time.monotonic() - began:.0f} s")


@pytest.mark.parametrize("name", STEPS)
def test_good_candidates_are_promoted_step_by_step(stage: Stage, name: str) -> None:
    weights = STEPS[name]
    found = stage.ends(name, "Promoted")
    assert "put better in place of stable at the head of spec.pools" in found["message"]
    steps = [("Progressing", step, weight) for step, weight in enumerate(weights, 1)]
    places = [place for place in stage.watching.path(name) if place[0] != "Pending"]
    assert places == [*steps, ("Promoted", len(weights), 100)]
    told = ["CanaryStarted", *["CanaryStepped"] * (len(weights) - 1), "CanaryPromoted"]
    eventually(lambda: _of_steps(stage.reasons(name)) == told)
    stage.goes_to(name, "better")
    route = stage.workloads.get("mroute", name)
    assert route["metadata"]["generation"] == 1, "the spec belongs to people"
    shares = {share["pool"]: share["weight"] for share in route["status"]["traffic"]}
    assert {pool for pool, weight in shares.items() if weight} == {"better"}


@pytest.mark.parametrize("name", BAD)
def test_bad_candidates_are_rolled_back_by_their_own_check(stage: Stage, name: str) -> None:
    found = stage.ends(name, "RolledBack")
    assert [check["name"] for check in found["checks"] if check["outcome"] == "Fail"] == [BAD[name]]
    assert BAD[name] in found["message"]
    places = [place for place in stage.watching.path(name) if place[0] != "Pending"]
    assert places == [("Progressing", 1, 50), ("RolledBack", 1, 0)]
    told = ["CanaryStarted", "CanaryRolledBack"]
    eventually(lambda: _of_steps(stage.reasons(name)) == told)
    stage.goes_to(name, "stable")
    asked = stage.callers.asked[name]
    stage.callers.end(name)
    print(f"\n{name}: {len(asked.failures)} of {len(asked.answers)} requests failed")
    print(found["message"])


def test_too_little_traffic_decides_nothing(stage: Stage) -> None:
    eventually(lambda: stage.reasons("quiet") == ["CanaryStarted", "CanaryInconclusive"])
    found = stage.status("quiet")
    assert stage.place("quiet") == ("Progressing", 1, 10)
    assert found["analysis"] == "Inconclusive"
    assert "of the 500 requests that analysis.minRequests asks for" in found["message"]
    time.sleep(3)
    assert stage.place("quiet") == ("Progressing", 1, 10)
    assert stage.reasons("quiet") == ["CanaryStarted", "CanaryInconclusive"]
    stage.callers.end("quiet", "good", "twin")


def test_a_hard_limit_rolls_back_within_seconds(stage: Stage) -> None:
    limit = {"metric": "errorRate", "max": "0.2", "window": "10s", "minRequests": 20}
    route = canary("breaking", "breaking", (50,), pause="1h", analysis={"hardLimits": [limit]})
    stage.begin(route)
    asked = stage.callers.begin("breaking", 30)
    time.sleep(8)
    assert stage.place("breaking") == ("Progressing", 1, 50)
    assert asked.pools()["breaking"] > 50
    for pod in stage.servers("breaking"):
        assert set_faults(pod, {"fail_rate": 1, "fail_status": 500})
    began = time.time()
    found = stage.ends("breaking", "RolledBack", within=30)
    written = datetime.fromisoformat(found["since"]).timestamp() - began
    time.sleep(3)
    stage.callers.end("breaking")
    last = max(answer.sent for answer in asked.answers if answer.reason.endswith("; canary"))
    print(
        f"\nhard limit: decided {written:.2f} s after the first failure, the last request for the "
        f"candidate {last - began:.2f} s after it; {len(asked.failures)} of {len(asked.answers)} "
        f"requests failed"
    )
    assert "hard limit" in found["message"]
    assert max(written, last - began) < 8
    assert not asked.failures, asked.failures[:3]


def test_levers_of_the_spec(stage: Stage) -> None:
    stage.begin(canary("manual", "better", (10, 40), pause="4s", paused=True))
    stage.callers.begin("manual", 10)
    time.sleep(6)
    assert stage.place("manual")[2] in (0, 10)
    assert stage.place("manual")[0] == "Paused"
    stage.begin(canary("manual", "better", (10, 40), pause="4s"))
    stage.reaches("manual", ("Progressing", 2, 40))
    stage.begin(canary("manual", "better", (10, 40), pause="4s", paused=True))
    stage.reaches("manual", ("Paused", 2, 40))
    time.sleep(6)
    assert stage.place("manual") == ("Paused", 2, 40)
    stage.begin(canary("manual", "better", (10, 40), pause="4s", aborted=True))
    stage.reaches("manual", ("Aborted", 2, 0))
    stage.goes_to("manual", "stable")
    stage.begin(canary("manual", "better", (10, 40), pause="4s"))
    stage.ends("manual", "Promoted")
    stage.goes_to("manual", "better")
    stage.callers.end("manual")


def test_levers_of_the_command_line(stage: Stage) -> None:
    stage.begin(canary("steered", "better", (20, 60), pause="5s"))
    stage.callers.begin("steered", 10)
    stage.reaches("steered", ("Progressing", 1, 20))
    assert stage.modelrouter("pause", "steered").startswith("0: ")
    stage.reaches("steered", ("Paused", 1, 20))
    time.sleep(6)
    assert stage.place("steered") == ("Paused", 1, 20)
    assert "20 %" in stage.modelrouter("status", "steered")
    assert stage.modelrouter("resume", "steered").startswith("0: ")
    stage.reaches("steered", ("Progressing", 2, 60))
    assert stage.modelrouter("abort", "steered").startswith("0: ")
    stage.reaches("steered", ("Aborted", 2, 0))
    stage.goes_to("steered", "stable")
    assert stage.modelrouter("status", "steered", "--wait").startswith("1: ")
    stage.workloads.kubectl("annotate", "mroute", "steered", "modelrouter.dev/canary-")
    stage.reaches("steered", ("Progressing", 1, 20))
    assert stage.modelrouter("promote", "steered").startswith("0: ")
    assert stage.modelrouter("status", "steered", "--wait").startswith("0: ")
    stage.goes_to("steered", "better")
    stage.callers.end("steered")


def test_requests_are_split_by_the_weights(stage: Stage) -> None:
    routes = [canary(f"split-{weight}", "better", (weight,), pause="1h") for weight in WEIGHTS]
    stage.begin(*routes)
    for weight in WEIGHTS:
        stage.reaches(f"split-{weight}", ("Progressing", 1, weight))
        _look_at_split(stage, f"split-{weight}", weight)


def _look_at_split(stage: Stage, name: str, weight: int) -> None:
    eventually(lambda: stage.callers.burst(name, 60).pools()["better"])
    before = sum(stage.measured(name))
    began = time.monotonic()
    asked = stage.callers.burst(name, SPLIT_REQUESTS)
    rate = SPLIT_REQUESTS / (time.monotonic() - began)
    assert not asked.failures, asked.failures[:3]
    share = 100 * asked.pools()["better"] / SPLIT_REQUESTS
    print(f"\n{weight} %: {share:.1f} % observed of {SPLIT_REQUESTS} requests, {rate:.0f}/s")
    assert abs(share - weight) < 2
    eventually(lambda: sum(stage.measured(name)) - before == SPLIT_REQUESTS)
    measured = stage.measured(name)
    assert len(measured) == ROUTERS
    assert all(measured), "a router pod had no part in it"


def test_the_same_manifest_again_changes_nothing(stage: Stage) -> None:
    text = json.dumps(canary("again", "better", (50,), pause="1h"))
    stage.workloads.kubernetes.kubectl(
        "apply", "-n", stage.workloads.namespace, "-f", "-", input=text
    )
    stage.reaches("again", ("Progressing", 1, 50))
    before = stage.workloads.get("mroute", "again")
    stage.callers.begin("again", 20)
    for _ in range(3):
        stage.workloads.kubernetes.kubectl(
            "apply", "-n", stage.workloads.namespace, "-f", "-", input=text
        )
        time.sleep(1)
    diff = stage.workloads.kubernetes.kubectl(
        "diff", "-n", stage.workloads.namespace, "-f", "-", input=text
    )
    assert diff == ""
    after = stage.workloads.get("mroute", "again")
    stage.callers.end("again")
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert after["status"]["canary"] == before["status"]["canary"]
    pools = stage.callers.asked["again"].pools()
    assert min(pools["stable"], pools["better"]) > 10


def test_an_operator_that_is_killed_neither_skips_nor_repeats_a_step(stage: Stage) -> None:
    if not stage.kubernetes.is_own:
        pytest.skip("processes of somebody else's node are not killed")
    weights = (10, 25, 45, 70)
    analysis = {"minRequests": 15, "checks": CHECKS[:1]}
    stage.begin(canary("enduring", "better", weights, pause="4s", analysis=analysis))
    stage.callers.begin("enduring", 12)
    kills: list[str] = []
    began_with = sum(restarts(operator_pods(stage.kubernetes)).values())

    def kill(moment: str) -> None:
        began, place = time.monotonic(), stage.place("enduring")
        signal_containers(stage.kubernetes, [stage.leader()])
        time.sleep(1)
        assert stage.place("enduring")[2] >= place[2]
        kills.append(f"{moment} at {place} ({time.monotonic() - began:.1f} s)")

    stage.reaches("enduring", ("Progressing", 1, 10))
    kill("just after a step began")
    stage.reaches("enduring", ("Progressing", 2, 25))
    time.sleep(2.5)
    kill("as a step is about to end")
    stage.reaches("enduring", ("Progressing", 3, 45))
    stage.modelrouter("pause", "enduring")
    kill("as it is being paused")
    stage.reaches("enduring", ("Paused", 3, 45))
    stage.modelrouter("resume", "enduring")
    stage.reaches("enduring", ("Progressing", 4, 70))
    time.sleep(2)
    kill("as it is about to be promoted")
    stage.ends("enduring", "Promoted")
    print("\nkilled " + "; ".join(kills))
    steps = [(step, weight) for step, weight in enumerate(weights, 1)]
    seen = [place for place in stage.watching.places("enduring") if place[0] != "Pending"]
    begun = list(dict.fromkeys((step, weight) for phase, step, weight, _ in seen))
    assert begun == [*steps, (4, 100)]
    walked = [place[1:3] for place in seen]
    assert walked == sorted(walked), seen
    moments = {place[1:] for place in seen if place[0] == "Progressing"}
    # The clock of a step that was paused begins anew.
    assert sorted(step for step, *_ in moments) in ([1, 2, 3, 3, 4], [1, 2, 3, 4]), seen
    eventually(
        lambda: sum(restarts(operator_pods(stage.kubernetes)).values()) - began_with == len(kills)
    )
    stage.goes_to("enduring", "better")
    stage.callers.end("enduring")


def test_the_callers_of_good_candidates_noticed_nothing(stage: Stage) -> None:
    everybody = stage.callers.asked
    asked = {name: everybody[name] for name in GOOD if name in everybody}
    total = sum(len(each.answers) for each in asked.values())
    failed = [f"{name}: {problem}" for name, each in asked.items() for problem in each.failures]
    print(
        f"\ngood candidates' routes: {total} requests, {len(failed)} failed; all routes: "
        f"{sum(len(each.answers) for each in everybody.values())} requests, "
        f"{sum(len(each.failures) for each in everybody.values())} failed"
    )
    assert not failed, failed[:5]
    assert total > 500, "too few requests to tell"


def _of_steps(reasons: list[str]) -> list[str]:
    """Without that a step took longer, as it does on a busy machine."""
    return [reason for reason in reasons if reason != "CanaryInconclusive"]
