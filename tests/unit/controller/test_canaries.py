"""Canaries in the operator, with a clock of the test's: what is looked at, written and told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from modelrouter.api.canary_status import AnalysisOutcome
from modelrouter.controller.canary_hooks import ASK_AGAIN_SECONDS
from modelrouter.plan.canary.judging import Judgement
from unit.controller.canary_stage import CHAT, Stage

CHECKED = {"interval": "10s", "checks": [{"metric": "successRate", "min": "0.9"}]}
PASSING = Judgement(AnalysisOutcome.PASSING)
FAILING = Judgement(AnalysisOutcome.FAILING, (), "too many errors")
UNCLEAR = Judgement(AnalysisOutcome.INCONCLUSIVE, (), "too few requests")


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
