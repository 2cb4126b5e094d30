"""Canaries from their beginning to their end, by figures that router pods or Prometheus tell.

The clock is real and the steps are short. That routers send requests by the weights is tested
elsewhere: here it is their configuration that has to have them.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cluster.control_plane.controller.conftest import Install, Router
from cluster.control_plane.controller.hooks import Hook
from cluster.control_plane.controller.loadedrouters import LoadedRouter
from cluster.control_plane.controller.operators import Installation, Operator
from cluster.control_plane.controller.prometheus import Prometheus
from cluster.control_plane.controller.resources import Resources
from cluster.control_plane.controller.waiting import eventually
from component.router.manifests import pool, route
from modelrouter.api.router_config import RouteConfig
from modelrouter.plan.canary.histogram import bucket_of
from modelrouter.plan.canary.measurement import Measurement, Moments
from modelrouter.plan.shards import route_key

Place = tuple[str, int, int]
"""Phase, step and weight."""
POOLS = [pool(name, f"127.0.0.1:{port}", model="m") for name, port in (("old", 9), ("new", 10))]


def figures(
    requests: int = 1000,
    *,
    errors: int = 0,
    milliseconds: float = 200,
    dollars: float = 0.01,
    score: float = 0.8,
) -> Measurement:
    """What an arm did; about half of its durations and costs are a little less."""
    good = requests - errors
    durations = {bucket_of(milliseconds): good - good // 2, bucket_of(milliseconds) - 1: good // 2}
    costs = [dollars, dollars * 0.9] * (good // 2)
    scores = [score, score - 0.1] * 100
    return Measurement(
        requests,
        {"serverError": errors} if errors else {},
        {bucket: count for bucket, count in durations.items() if count},
        cost=Moments.of(costs),
        quality=Moments.of(scores),
    )


def canary(name: str = "chat", **given: Any) -> dict[str, Any]:
    """A route with a canary of short steps."""
    spec = {
        "from": "old",
        "to": "new",
        "steps": [{"weight": weight, "pause": "2s"} for weight in (5, 25, 50)],
        "analysis": {"interval": "1s", "checks": [{"metric": "successRate", "min": "0.99"}]},
        **given,
    }
    return route(name, pools=["old", "new"], canary=spec)


class Stage:
    """A router whose pod tells what the test says, and what becomes of canaries."""

    def __init__(self, here: Resources, pod: LoadedRouter) -> None:
        self.here, self.pod = here, pod
        for name in ("old", "new"):
            pod.tell(name, 0, ready=1)

    def begin(self, name: str = "chat", **given: Any) -> None:
        """Apply a route with a canary, and wait until that has an id."""
        self.here.apply(*POOLS, canary(name, **given))
        eventually(lambda: self.status(name))

    def measure(
        self, candidate: Measurement, stable: Measurement | None = None, name: str = "chat"
    ) -> None:
        """The pod tells these figures of a route's arms."""
        stable = stable or figures()
        self.pod.measure(name, self.status(name)["id"], stable=stable, candidate=candidate)

    def status(self, name: str = "chat") -> dict[str, Any]:
        found = self.here.get("mroute", name).get("status", {}).get("canary", {})
        assert isinstance(found, dict)
        return found

    def place(self, name: str = "chat") -> Place:
        found = self.status(name)
        return found.get("phase", ""), found.get("step", 0), found.get("weight", 0)

    def reaches(self, *wanted: Place, name: str = "chat", within: float = 60) -> dict[str, Any]:
        """Wait until the canary stands at one of these places; its status."""
        eventually(lambda: self.place(name) in wanted, within=within)
        return self.status(name)

    def weights(self, name: str = "chat") -> dict[str, int]:
        """The weights that routers have, without those of 0."""
        for config in self.here.all("configmap"):
            text = (config.get("data") or {}).get(route_key(name))
            if text:
                rules = RouteConfig.model_validate_json(text).rules
                return {t.pool: t.weight for t in rules[-1].targets if t.weight}
        return {}

    def told_weights(self, name: str = "chat") -> dict[str, int]:
        """The weights that the status tells, without those of 0."""
        traffic = self.here.get("mroute", name)["status"]["traffic"]
        return {share["pool"]: share["weight"] for share in traffic if share["weight"]}

    def reasons(self, name: str = "chat") -> list[str]:
        """The Events about its canary, oldest first."""
        return [r for _, r in self.here.events("ModelRoute", name) if r.startswith("Canary")]

    def annotate(self, value: str) -> None:
        """Pull a lever; empty: let it go."""
        given = f"modelrouter.dev/canary={value}" if value else "modelrouter.dev/canary-"
        self.here.kubernetes.kubectl(
            "annotate", "mroute", "chat", given, "--overwrite", "-n", self.here.namespace
        )


@contextmanager
def following(
    here: Resources, file: Path, name: str = "chat"
) -> Iterator[Callable[[], list[Place]]]:
    """Every place that a canary has been at, as the API server told it, repeats left out."""
    fields = " ".join(f"{{.status.canary.{each}}}" for each in ("phase", "step", "weight"))
    watch = ("get", "mroute", name, "-n", here.namespace, "--watch", "-o")
    with file.open("w") as out:
        kubectl = subprocess.Popen(
            ["kubectl", *watch, f'jsonpath={fields}{{"\\n"}}'],
            env=here.kubernetes.environment, stdout=out, stderr=out,
        )  # fmt: skip

    def places() -> list[Place]:
        lines = (line.split() for line in file.read_text().splitlines())
        found = [(line[0], int(line[1]), int(line[2])) for line in lines if len(line) == 3]
        return [place for place, _ in itertools.groupby(found)]

    try:
        yield places
    finally:
        kubectl.kill()
        kubectl.wait()


@pytest.fixture
def stage(operator: Operator, resources: Resources, router: Router) -> Stage:
    """With an operator that leads, and a router pod."""
    return begun(resources, router)


def begun(resources: Resources, router: Router) -> Stage:
    resources.apply(*POOLS, route("first", pools=["old", "new"]))
    return Stage(resources, router())


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


def test_levers(stage: Stage) -> None:
    stage.begin()
    stage.here.apply(canary(paused=True))
    stage.measure(figures())
    paused = stage.reaches(("Paused", 1, 5), ("Paused", 0, 0))
    time.sleep(4)
    assert stage.place()[1:] == (paused["step"], paused["weight"])
    stage.here.apply(canary())
    stage.reaches(("Progressing", 2, 25))
    stage.annotate("pause")
    stage.reaches(("Paused", 2, 25), ("Paused", 3, 50))
    stage.annotate("abort")
    stage.reaches(("Aborted", 2, 0), ("Aborted", 3, 0))
    eventually(lambda: stage.weights() == {"old": 1})
    stage.annotate("")
    stage.reaches(("Progressing", 1, 5))
    stage.here.apply(canary(aborted=True))
    stage.reaches(*(("Aborted", step, 0) for step in (1, 2, 3)))
    # A step without a duration waits for its name.
    waiting = [{"weight": 10}, {"weight": 50, "pause": "1h"}]
    stage.here.apply(canary(steps=waiting))
    stage.reaches(("Paused", 1, 10))
    stage.annotate("resume:2")
    time.sleep(3)
    assert stage.place() == ("Paused", 1, 10)
    stage.annotate("resume:1")
    stage.reaches(("Progressing", 2, 50))
    stage.annotate("promote:old")
    time.sleep(2)
    assert stage.place() == ("Progressing", 2, 50)
    stage.annotate("promote:new")
    stage.reaches(("Promoted", 2, 100))


def test_the_same_manifest_again_changes_nothing(stage: Stage, installation: Installation) -> None:
    given = {"steps": [{"weight": 5, "pause": "1s"}, {"weight": 50, "pause": "1h"}]}
    stage.begin(**given)
    stage.measure(figures())
    stage.reaches(("Progressing", 2, 50))
    before = stage.here.get("mroute", "chat")
    stage.here.apply(canary(**given))
    listed = json.dumps(canary(**given))
    diff = stage.here.kubernetes.kubectl(
        "diff", "--server-side", "-n", stage.here.namespace, "-f", "-", input=listed
    )
    assert diff == ""
    time.sleep(3)
    after = stage.here.get("mroute", "chat")
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert (stage.place(), after["status"]["canary"]["since"]) == (
        ("Progressing", 2, 50),
        before["status"]["canary"]["since"],
    )
    assert stage.weights() == {"old": 1, "new": 1}


def test_a_change_of_the_spec_in_mid_canary(stage: Stage) -> None:
    long = [{"weight": weight, "pause": "1h"} for weight in (20, 60)]
    stage.begin(steps=long)
    began = stage.reaches(("Progressing", 1, 20))
    # Other steps: the weight stays until the first step that has at least as much.
    stage.here.apply(canary(steps=[{"weight": w, "pause": "1h"} for w in (10, 20, 40)]))
    found = stage.reaches(("Progressing", 2, 20))
    assert (found["id"], found["steps"]) == (began["id"], 3)
    # Another candidate: from the beginning.
    stage.here.apply(pool("newer", "127.0.0.1:11", model="m"))
    stage.pod.tell("newer", 0, ready=1)
    other = canary(to="newer", steps=long)
    other["spec"]["pools"].append("newer")
    stage.here.apply(other)
    eventually(lambda: stage.status().get("to") == "newer")
    found = stage.reaches(("Progressing", 1, 20))
    assert found["id"] != began["id"]
    assert "CanaryRestarted" in stage.reasons()
    eventually(lambda: stage.weights() == {"old": 4, "newer": 1})


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


def test_figures_come_from_prometheus_with_queries_of_ones_own(stage: Stage) -> None:
    prometheus = Prometheus()
    steps = [{"weight": 10, "pause": "2s"}, {"weight": 50, "pause": "1h"}]
    query = 'queue{ns="{{namespace}}",route="{{route}}",rule="{{rule}}",pool="{{pool}}"}'
    checks = [
        {"metric": "p95Latency", "maxRatioToStable": "1.3"},
        {"name": "queue", "query": query, "maxRatioToStable": "2"},
    ]
    analysis = {"interval": "1s", "checks": checks, "prometheus": {"address": prometheus.url}}
    stage.begin(steps=steps, analysis=analysis)
    stage.reaches(("Progressing", 1, 10))
    space = stage.here.namespace

    def asked(name: str) -> str:
        return f'queue{{ns="{space}",route="chat",rule="pools",pool="{name}"}}'

    # No figures at all: neither passed nor failed, and the query that Prometheus refuses is told.
    eventually(lambda: "refuses the query: unknown query" in stage.status()["message"])
    assert stage.status()["analysis"] == "Inconclusive"
    labels = {"namespace": space, "route": "chat", "canary": stage.status()["id"]}
    prometheus.measure(labels, "stable", figures())
    prometheus.measure(labels, "canary", figures())
    prometheus.answers = {asked("old"): "3", asked("new"): "4"}
    stage.reaches(("Progressing", 2, 50))
    eventually(lambda: stage.status().get("analysis") == "Passing")
    values = {check["name"]: check["value"] for check in stage.status()["checks"]}
    assert values["queue"] == "4"
    # Away: nobody is judged without figures.
    prometheus.stop()
    eventually(lambda: "cannot be asked" in stage.status()["message"])
    assert stage.place() == ("Progressing", 2, 50)
    again = Prometheus()
    again.measure(labels, "stable", figures())
    again.measure(labels, "canary", figures(milliseconds=500))
    again.answers = {asked("old"): "3", asked("new"): "4"}
    analysis["prometheus"] = {"address": again.url}
    stage.here.apply(canary(steps=steps, analysis=analysis))
    stage.reaches(("RolledBack", 2, 0))
    again.stop()


def test_hooks_let_steps_begin_and_are_told_of_transitions(stage: Stage) -> None:
    before, on = Hook(), Hook()
    before.status = 503
    hooks = [
        {"name": "load-test", "url": before.url, "at": "BeforeStep"},
        {"name": "chat", "url": on.url, "at": "OnTransition"},
    ]
    stage.begin(hooks=hooks)
    stage.measure(figures())
    eventually(lambda: "hook load-test answered 503" in stage.status()["message"])
    assert stage.place() == ("Pending", 0, 0)
    before.status = 204
    stage.reaches(("Progressing", 1, 5))
    before.status = 302
    time.sleep(4)
    assert stage.place() == ("Progressing", 1, 5)
    before.status = 200
    stage.reaches(("Promoted", 3, 100))
    steps = [step for step, _ in itertools.groupby(body["step"] for body in before.bodies)]
    assert steps == [1, 2, 3]
    weights = [body["weight"] for body in on.bodies if body["phase"] != "Pending"]
    assert weights == [5, 25, 50, 100]
    before.stop()
    on.stop()


def test_an_operator_that_is_killed_in_any_phase_goes_on_where_it_was(
    install: Install, resources: Resources, router: Router, tmp_path: Path
) -> None:
    election = {"leaseDuration": "4s", "renewDeadline": "3s", "retryPeriod": "1s"}
    operator = install(operator={"leaderElection": election}).operator().lead()
    stage = begun(resources, router)

    def killed() -> None:
        place = stage.place()
        operator.kill()
        operator._identity = ""
        assert stage.place()[2] == place[2]
        operator.start().lead()

    stage.pod.tell("new", 0, ready=0)
    steps: list[dict[str, Any]] = [
        {"weight": 5, "pause": "12s"}, {"weight": 25}, {"weight": 50, "pause": "12s"},
    ]  # fmt: skip
    stage.begin(steps=steps)
    with following(stage.here, tmp_path / "places") as places:
        stage.measure(figures())
        stage.reaches(("Pending", 0, 0))
        killed()
        stage.pod.tell("new", 0, ready=1)
        since = stage.reaches(("Progressing", 1, 5))["since"]
        killed()
        assert (stage.status()["step"], stage.status()["since"]) == (1, since)
        stage.reaches(("Paused", 2, 25))
        killed()
        time.sleep(3)
        assert stage.place() == ("Paused", 2, 25)
        stage.annotate("resume:2")
        stage.reaches(("Progressing", 3, 50))
        killed()
        stage.reaches(("Promoted", 3, 100))
        killed()
        time.sleep(3)
        assert stage.weights() == {"new": 1}
        stage.annotate("abort")
        stage.reaches(("Aborted", 3, 0))
        killed()
        time.sleep(2)
        assert stage.place() == ("Aborted", 3, 0)
        seen = [place for place in places() if place[0] != "Pending"]
    assert seen == [
        ("Progressing", 1, 5), ("Progressing", 2, 25), ("Paused", 2, 25), ("Progressing", 3, 50),
        ("Promoted", 3, 100), ("Aborted", 3, 0),
    ]  # fmt: skip
    assert stage.weights() == {"old": 1}
    stage.annotate("")
    stage.measure(figures(errors=200))
    stage.reaches(("RolledBack", 1, 0))
    killed()
    time.sleep(2)
    assert stage.place() == ("RolledBack", 1, 0)
