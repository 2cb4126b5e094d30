"""Canaries in the operator, with a clock of the test's: what is looked at, written and told.

The cluster here is a snapshot that takes in what is written; a write can also fail, or be made
without anybody learning of it, as when the operator is killed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelrouter.api.canary import CANARY_ANNOTATION, Canary
from modelrouter.api.canary_status import AnalysisOutcome, CanaryStatus
from modelrouter.api.manifests import Key
from modelrouter.controller.canaries import Canaries
from modelrouter.controller.canary_hooks import ASK_AGAIN_SECONDS
from modelrouter.controller.snapshot import Route, Snapshot
from modelrouter.plan.canary.judging import Judgement
from modelrouter.plan.transitions import Event

CHAT = ("ns", "chat")
STEPS = [{"weight": 5, "pause": "60s"}, {"weight": 50, "pause": "60s"}]
CHECKED = {"interval": "10s", "checks": [{"metric": "successRate", "min": "0.9"}]}
PASSING = Judgement(AnalysisOutcome.PASSING)
FAILING = Judgement(AnalysisOutcome.FAILING, (), "too many errors")
UNCLEAR = Judgement(AnalysisOutcome.INCONCLUSIVE, (), "too few requests")


class Hooks:
    """Hooks that answer what the test says."""

    def __init__(self) -> None:
        self.refusal = ""
        self.asked: list[Mapping[str, Any]] = []
        self.told: list[Mapping[str, Any]] = []

    async def ask(self, url: str, seconds: float, body: Mapping[str, Any]) -> str:
        self.asked.append(body)
        return self.refusal

    async def tell(self, name: str, url: str, seconds: float, body: Mapping[str, Any]) -> bool:
        self.told.append(body)
        return True


class Stage:
    """One route, the cluster that keeps its status, and everything that surrounds a canary."""

    def __init__(self) -> None:
        self.snapshot, self.hooks = Snapshot(), Hooks()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.ready, self.problem = True, ""
        self.judgement: Judgement | None = None
        self.breached: str | None = None
        self.looked: Counter[str] = Counter()
        self.events: list[str] = []
        self.writes: list[CanaryStatus] = []
        self.lost: list[str] = []
        """What becomes of the next writes: `refused`, `unseen` or `pruned`."""
        self.woken = asyncio.Event()
        self._version = 0
        self._object: dict[str, Any] = {}
        self.canaries = self.new_leader()

    def new_leader(self) -> Canaries:
        """Another operator, which knows nothing but what is in the cluster."""
        hooks: Any = self.hooks
        self.canaries = Canaries(
            self.snapshot,
            self,
            Scouts(self),
            self,
            hooks,
            lambda key: self.woken.set(),
            lambda: self.now,
        )
        return self.canaries

    def apply(self, *, annotation: str = "", **canary: Any) -> None:
        """Apply the route; another spec is another generation."""
        given = {"from": "a", "to": "b", "steps": STEPS, **canary}
        spec: dict[str, Any] = {"models": ["chat"], "pools": ["a", "b"], "canary": given}
        if canary.get("steps") is None and "steps" in canary:
            del spec["canary"]
        before = self._object
        generation = before["metadata"]["generation"] if before else 0
        if not before or before["spec"] != spec:
            generation += 1
        self._store(spec, generation, annotation, before.get("status", {}))

    def _store(
        self, spec: Any, generation: int, annotation: str, status: Any, *, own: bool = False
    ) -> None:
        self._version += 1
        self._object = {
            "apiVersion": "modelrouter.dev/v1alpha1",
            "kind": "ModelRoute",
            "metadata": {
                "name": "chat",
                "namespace": "ns",
                "uid": "u",
                "generation": generation,
                "resourceVersion": str(self._version),
                "annotations": {CANARY_ANNOTATION: annotation} if annotation else {},
            },
            "spec": spec,
            "status": status,
        }
        self.snapshot.put_route(self._object, own=own)

    # In place of those who judge, know the candidate, and write

    async def judge(
        self, route: Route, spec: Canary, status: CanaryStatus, now: datetime
    ) -> Judgement:
        self.looked["judge"] += 1
        assert self.judgement is not None
        return self.judgement

    async def breach(
        self, route: Route, spec: Canary, status: CanaryStatus, now: datetime
    ) -> str | None:
        self.looked["breach"] += 1
        return self.breached

    async def report_canary(self, key: Key, spec: Canary, canary: CanaryStatus) -> None:
        fate = self.lost.pop(0) if self.lost else ""
        if fate == "refused":
            raise OSError("the API server is away")
        self.writes.append(canary)
        metadata = self._object["metadata"]
        status = {"canary": canary.document()} if fate != "pruned" else {}
        annotation = metadata["annotations"].get(CANARY_ANNOTATION, "")
        self._store(self._object["spec"], metadata["generation"], annotation, status, own=True)
        if fate == "unseen":
            raise TimeoutError

    def tell_of_route(self, key: Key, event: Event) -> None:
        self.events.append(event.reason)

    # What the test does and sees

    @property
    def status(self) -> CanaryStatus:
        found = self.snapshot.routes[CHAT].canary
        assert found is not None
        return found

    @property
    def place(self) -> tuple[str, int, int]:
        return self.status.phase.value, self.status.step, self.status.weight

    async def settle(self) -> float | None:
        """Look at the route until there is nothing to do just now; when to look again."""
        for _ in range(20):
            self.woken.clear()
            pause = await self.canaries.work_on(CHAT)
            for _ in range(5):
                await asyncio.sleep(0)
            if not self.woken.is_set() and pause != 0.0:
                return pause
        raise AssertionError("it never rests")

    async def passes(self, seconds: float) -> None:
        """Time passes, and the route is looked at as often as was asked for."""
        end = self.now + timedelta(seconds=seconds)
        while True:
            pause = await self.settle()
            if pause is None or self.now + timedelta(seconds=pause) > end:
                break
            self.now += timedelta(seconds=pause)
        self.now = end
        await self.settle()

    def metric(self, name: str, **labels: str) -> float | None:
        for family in self.canaries.metrics.collect():
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return sample.value
        return None


class Scouts:
    """Those who know the candidate."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def problem(self, key: Key, spec: Canary) -> str:
        return self._stage.problem

    def ready(self, route: Route, spec: Canary) -> bool:
        return self._stage.ready


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    await stage.canaries.stop()


async def test_steps_follow_each_other_and_the_end_is_quiet(stage: Stage) -> None:
    stage.apply()
    await stage.settle()
    assert stage.place == ("Progressing", 1, 5)
    writes = len(stage.writes)
    await stage.passes(59)
    assert stage.place == ("Progressing", 1, 5)
    assert len(stage.writes) == writes
    await stage.passes(1)
    assert stage.place == ("Progressing", 2, 50)
    await stage.passes(60)
    assert stage.place == ("Promoted", 2, 100)
    assert stage.events == ["CanaryStarted", "CanaryStepped", "CanaryPromoted"]
    assert await stage.settle() is None


async def test_a_route_without_a_canary_is_no_work(stage: Stage) -> None:
    stage.apply(steps=None)
    assert not stage.canaries.concerns(CHAT)
    assert await stage.canaries.work_on(CHAT) is None


async def test_analyses_are_made_at_intervals_and_only_a_passed_step_ends(stage: Stage) -> None:
    stage.apply(analysis=CHECKED)
    stage.judgement = UNCLEAR
    await stage.passes(65)
    assert stage.looked["judge"] == 6
    assert stage.place == ("Progressing", 1, 5)
    assert stage.events.count("CanaryInconclusive") == 1
    stage.judgement = PASSING
    await stage.passes(10)
    assert stage.place == ("Progressing", 2, 50)
    assert stage.metric("modelrouter_canary_analyses_total", outcome="Inconclusive") == 6
    assert stage.metric("modelrouter_canary_analyses_total", outcome="Passing") == 1


async def test_failed_analyses_in_a_row_roll_back(stage: Stage) -> None:
    stage.apply(analysis={**CHECKED, "failuresBeforeRollback": 2})
    stage.judgement = FAILING
    await stage.passes(19)
    assert (stage.place, stage.status.failures) == (("Progressing", 1, 5), 1)
    await stage.passes(1)
    assert stage.place == ("RolledBack", 1, 0)
    assert "too many errors" in stage.status.message
    assert stage.metric("modelrouter_canary_phase", phase="RolledBack") == 1
    assert stage.metric("modelrouter_canary_phase", phase="Progressing") == 0


async def test_hard_limits_are_looked_at_every_second_and_end_it_at_once(stage: Stage) -> None:
    limit = {"metric": "errorRate", "max": "0.2", "window": "30s"}
    stage.apply(analysis={"hardLimits": [limit]})
    await stage.settle()
    stage.looked.clear()
    await stage.passes(10)
    assert 10 <= stage.looked["breach"] <= 25
    stage.breached = "errorRate 0.5 is over 0.2"
    await stage.passes(1)
    assert stage.place == ("RolledBack", 1, 0)


async def test_without_hard_limits_nobody_looks_more_often_than_needed(stage: Stage) -> None:
    stage.apply(analysis=CHECKED)
    stage.judgement = PASSING
    await stage.settle()
    stage.looked.clear()
    await stage.passes(55)
    assert stage.looked["judge"] == 5
    assert stage.looked["breach"] <= 25


@pytest.mark.parametrize("fate", ["refused", "unseen"])
@pytest.mark.parametrize("number", range(6))
async def test_a_write_that_fails_or_whose_answer_is_lost_skips_and_repeats_nothing(
    stage: Stage, number: int, fate: str
) -> None:
    stage.apply(analysis=CHECKED)
    stage.judgement = PASSING
    stage.lost = [""] * number + [fate]
    for _ in range(400):
        try:
            pause = await stage.settle()
        except OSError:
            pause = 0.1  # as the queue does
        if pause is None:
            break
        stage.now += timedelta(seconds=pause)
    assert not stage.lost
    assert stage.place == ("Promoted", 2, 100)
    assert stage.events == ["CanaryStarted", "CanaryStepped", "CanaryPromoted"]
    weights = [status.weight for status in stage.writes]
    assert weights == sorted(weights)
    assert {0, 5, 50, 100} >= set(weights) >= {5, 50, 100}


async def test_a_new_leader_goes_on_where_the_last_one_was_killed(stage: Stage) -> None:
    stage.apply(analysis={**CHECKED, "failuresBeforeRollback": 2})
    stage.judgement = FAILING
    await stage.passes(10)
    assert (stage.status.step, stage.status.failures) == (1, 1)
    since, writes = stage.status.since, len(stage.writes)
    stage.new_leader()
    await stage.passes(5)
    assert (stage.status.since, stage.status.failures) == (since, 1)
    assert len(stage.writes) == writes  # the interval is not cut short by another leader
    stage.judgement = PASSING
    for _ in range(20):
        stage.new_leader()
        await stage.passes(6)
    assert stage.place == ("Promoted", 2, 100)
    assert stage.events == ["CanaryStarted", "CanaryStepped", "CanaryPromoted"]


async def test_what_was_found_out_about_another_step_does_not_count(stage: Stage) -> None:
    stage.apply(analysis=CHECKED)
    stage.judgement = FAILING
    await stage.settle()
    stage.now += timedelta(seconds=10)
    await stage.canaries.work_on(CHAT)  # begins to judge
    stage.apply(analysis=CHECKED, paused=True)
    await stage.settle()
    assert stage.place == ("Paused", 1, 5)
    stage.judgement = PASSING
    stage.apply(analysis=CHECKED)
    await stage.settle()
    assert (stage.place, stage.status.failures) == (("Progressing", 1, 5), 0)


async def test_levers_of_the_spec_and_of_the_annotation(stage: Stage) -> None:
    stage.apply()
    await stage.passes(30)
    stage.apply(annotation="pause")
    await stage.passes(300)
    assert stage.place == ("Paused", 1, 5)
    stage.apply()
    await stage.passes(59)
    assert stage.place == ("Progressing", 1, 5)
    stage.apply(aborted=True)
    await stage.settle()
    assert stage.place == ("Aborted", 1, 0)
    stage.apply()
    await stage.settle()
    assert stage.place == ("Progressing", 1, 5)
    stage.apply(annotation="promote:b")
    await stage.settle()
    assert stage.place == ("Promoted", 1, 100)


async def test_the_same_manifest_again_changes_nothing(stage: Stage) -> None:
    stage.apply()
    await stage.passes(61)
    writes, place = len(stage.writes), stage.place
    stage.apply()
    await stage.passes(10)
    assert (stage.place, len(stage.writes)) == (place, writes)


async def test_a_candidate_that_is_not_there_or_not_ready_keeps_it_from_beginning(
    stage: Stage,
) -> None:
    stage.problem = "there is no ModelPool ns/b"
    stage.apply()
    await stage.passes(100)
    assert stage.place == ("Pending", 0, 0)
    assert "there is no ModelPool ns/b" in stage.status.message
    stage.problem, stage.ready = "", False
    await stage.passes(100)
    assert stage.place == ("Pending", 0, 0)
    stage.ready = True
    await stage.settle()
    assert stage.place == ("Progressing", 1, 5)


async def test_a_hook_that_says_no_keeps_a_step_from_beginning_and_is_asked_again(
    stage: Stage,
) -> None:
    stage.hooks.refusal = "answered 503"
    stage.apply(hooks=[{"name": "load-test", "url": "http://h/", "at": "BeforeStep"}])
    await stage.passes(3 * ASK_AGAIN_SECONDS + 1)
    assert stage.place == ("Pending", 0, 0)
    assert "hook load-test answered 503" in stage.status.message
    assert 2 <= len(stage.hooks.asked) <= 5
    asked = stage.hooks.asked[0]
    assert (asked["at"], asked["step"], asked["weight"]) == ("BeforeStep", 1, 5)
    stage.hooks.refusal = ""
    await stage.passes(ASK_AGAIN_SECONDS)
    assert stage.place == ("Progressing", 1, 5)
    asked_for_first = len(stage.hooks.asked)
    await stage.passes(50)
    assert len(stage.hooks.asked) == asked_for_first
    await stage.passes(10)
    assert stage.place == ("Progressing", 2, 50)
    assert stage.hooks.asked[-1]["step"] == 2


async def test_hooks_are_told_of_each_transition_once(stage: Stage) -> None:
    stage.apply(hooks=[{"name": "chat", "url": "http://h/", "at": "OnTransition"}])
    await stage.passes(200)
    told = [(body["phase"], body["step"], body["weight"]) for body in stage.hooks.told]
    assert told == [("Progressing", 1, 5), ("Progressing", 2, 50), ("Promoted", 2, 100)]


async def test_metrics_end_with_the_canary(stage: Stage) -> None:
    stage.apply()
    await stage.passes(30)
    labels = {"namespace": "ns", "route": "chat"}
    assert stage.metric("modelrouter_canary_weight", **labels, pool="b") == 5
    assert stage.metric("modelrouter_canary_weight", **labels, pool="a") == 95
    assert stage.metric("modelrouter_canary_step_seconds", **labels) == 30
    assert stage.metric("modelrouter_canary_transitions_total", **labels, to="Progressing") == 1
    stage.apply(steps=None)
    assert stage.canaries.concerns(CHAT)
    await stage.settle()
    assert stage.metric("modelrouter_canary_weight") is None
    assert stage.metric("modelrouter_canary_transitions_total") is None
    assert not stage.canaries.concerns(CHAT)


async def test_a_status_that_the_cluster_does_not_keep_is_not_written_in_a_loop(
    stage: Stage,
) -> None:
    stage.lost = ["pruned"] * 100
    stage.apply()
    assert (await stage.canaries.work_on(CHAT) or 0) >= 5
