"""A canary goes on by its spec, its status and what is known, and by nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest

from modelrouter.api.canary_status import CanaryStatus
from modelrouter.plan.canary.advancing import analysis_due
from modelrouter.plan.canary.evidence import StepAnswer
from unit.plan.canary.turns import (
    CHECKED,
    FAILING,
    INCONCLUSIVE,
    PASSING,
    Turns,
    canary,
    steps,
)


def test_steps_follow_each_other_until_the_candidate_has_everything() -> None:
    turns = Turns(canary())
    assert turns.after(0) == "Progressing 1 5%"
    assert turns.after(9.99) == "Progressing 1 5%"
    assert turns.after(0.01) == "Progressing 2 25%"
    assert turns.after(10) == "Progressing 3 50%"
    assert turns.after(10) == "Promoted 3 100%"
    assert turns.after(1000) == "Promoted 3 100%"
    assert turns.told == ["CanaryStarted", "CanaryStepped", "CanaryStepped", "CanaryPromoted"]
    assert turns.current.message == (
        "promoted after 3 steps: new gets all requests of old. To make it last, put new in place "
        "of old in the targets of rule default and remove canary"
    )


def test_each_look_takes_one_step_at_most() -> None:
    turns = Turns(canary())
    turns.look()
    assert turns.after(10_000) == "Progressing 2 25%"
    assert turns.after(0) == "Progressing 2 25%"


def test_a_look_at_which_nothing_happens_changes_nothing() -> None:
    turns = Turns(canary(analysis=CHECKED))
    first = turns.look()
    assert first.transition
    turns.now += timedelta(minutes=1)
    again = turns.look()
    assert again.status == first.status
    assert (again.events, again.transition) == ((), False)


def test_the_status_tells_where_it_stands() -> None:
    turns = Turns(canary())
    document = turns.look().status.document()
    assert document == {
        "phase": "Progressing",
        "id": turns.spec.id,
        "rule": "default",
        "from": "old",
        "to": "new",
        "step": 1,
        "steps": 3,
        "weight": 5,
        "failures": 0,
        "summary": "Progressing 5%",
        "since": "2026-01-01T12:00:00.000Z",
        "message": "step 1 of 3",
    }


# --- before it begins


def test_it_waits_for_a_candidate_that_was_never_ready() -> None:
    turns = Turns(canary())
    assert turns.after(0, candidate_ready=False) == "Pending 0 0%"
    assert turns.current.message == "waits until an endpoint of new is ready"
    assert turns.after(60, candidate_ready=False) == "Pending 0 0%"
    assert turns.after(1) == "Progressing 1 5%"
    assert turns.told == ["CanaryStarted"]


def test_a_candidate_that_becomes_unready_is_left_to_limits_and_analysis() -> None:
    turns = Turns(canary())
    turns.look()
    assert turns.after(1, candidate_ready=False) == "Progressing 1 5%"


def test_without_the_candidate_it_goes_back_and_begins_anew() -> None:
    turns = Turns(canary())
    turns.look()
    turns.after(10)
    problem = "there is no ModelPool ai/new"
    assert turns.after(1, candidate_problem=problem, candidate_ready=False) == "Pending 0 0%"
    assert turns.current.message == f"cannot begin: {problem}"
    since = turns.current.since
    assert turns.after(1, candidate_problem=problem, candidate_ready=False) == "Pending 0 0%"
    assert turns.current.since == since
    assert turns.after(1) == "Progressing 1 5%"
    assert turns.told == ["CanaryStarted", "CanaryStepped", "CanaryRestarted", "CanaryStarted"]


# --- analysis


def test_a_step_needs_an_analysis_that_passes() -> None:
    turns = Turns(canary(analysis=CHECKED))
    turns.look()
    assert turns.after(10) == "Progressing 1 5%"
    assert turns.after(0.5, judgement=INCONCLUSIVE) == "Progressing 1 5%"
    assert turns.after(0.5, judgement=PASSING) == "Progressing 2 25%"


def test_what_passed_early_has_to_pass_at_the_end_too() -> None:
    turns = Turns(canary(analysis=CHECKED))
    turns.look()
    turns.after(5, judgement=PASSING)
    assert turns.current.analysis == "Passing"
    assert turns.after(5) == "Progressing 1 5%"
    assert turns.after(0, judgement=PASSING) == "Progressing 2 25%"


def test_the_next_step_begins_without_the_analysis_of_the_last() -> None:
    turns = Turns(canary(analysis=CHECKED))
    turns.look()
    turns.after(10, judgement=PASSING)
    assert (turns.current.analysis, turns.current.judged, turns.current.checks) == ("", None, [])


def test_a_failed_analysis_rolls_back() -> None:
    turns = Turns(canary(analysis=CHECKED))
    turns.look()
    assert turns.after(1, judgement=FAILING) == "RolledBack 1 0%"
    assert turns.told[-1] == "CanaryRolledBack"
    assert turns.current.message.startswith(
        "rolled back in step 1 of 3 (5 %): 1 failed analysis in a row: successRate is 0.8, which "
        "is below 0.99. old gets all requests; to try again, "
    )
    assert turns.current.checks[0].outcome == "Fail"
    assert turns.after(100, judgement=PASSING) == "RolledBack 1 0%"


def test_only_failures_in_a_row_roll_back() -> None:
    turns = Turns(canary(analysis={**CHECKED, "failuresBeforeRollback": 2}))
    turns.look()
    assert turns.after(1, judgement=FAILING) == "Progressing 1 5%"
    assert "1 of 2 failed analyses in a row before it is rolled back" in turns.current.message
    assert turns.after(1, judgement=PASSING) == "Progressing 1 5%"
    assert turns.after(1, judgement=FAILING) == "Progressing 1 5%"
    # What cannot be told neither fails nor makes good.
    assert turns.after(1, judgement=INCONCLUSIVE) == "Progressing 1 5%"
    assert turns.after(1, judgement=FAILING) == "RolledBack 1 0%"
    assert "2 failed analyses in a row" in turns.current.message


def test_too_little_to_judge_by_is_told_once_a_step() -> None:
    turns = Turns(canary(analysis=CHECKED))
    turns.look()
    turns.after(1, judgement=INCONCLUSIVE)
    assert turns.told == ["CanaryStarted"]
    for _ in range(3):
        assert turns.after(10, judgement=INCONCLUSIVE) == "Progressing 1 5%"
        assert turns.current.overdue
    assert turns.told == ["CanaryStarted", "CanaryInconclusive"]
    assert turns.messages[-1] == "step 1 of 3 cannot end yet: 12 requests of 200"
    turns.after(1, judgement=PASSING)
    assert not turns.current.overdue
    turns.after(10, judgement=INCONCLUSIVE)
    assert turns.told.count("CanaryInconclusive") == 2


def test_a_hard_limit_rolls_back_whatever_the_analysis_says() -> None:
    turns = Turns(canary(analysis={**CHECKED, "failuresBeforeRollback": 9}))
    turns.look()
    found = turns.look(breach="errorRate is 0.5, above 0.2", judgement=PASSING)
    assert turns.where == "RolledBack 1 0%"
    assert "hard limit: errorRate is 0.5, above 0.2" in found.events[0].message
    assert found.events[0].type == "Warning"


def test_analyses_are_due_by_the_interval_and_at_the_end_of_the_step() -> None:
    turns = Turns(canary(steps=steps((5, "45s"), (25, "10m")), analysis=CHECKED))
    assert not analysis_due(turns.spec, turns.look(candidate_ready=False).status, turns.now)
    start = turns.now
    assert turns.look().look_again_s == 30

    def due(seconds: float) -> bool:
        return analysis_due(turns.spec, turns.current, start + timedelta(seconds=seconds))

    assert not due(29)
    assert due(30)
    assert turns.after(0.5, judgement=PASSING) == "Progressing 1 5%"
    assert not due(44)
    assert due(45), "the pause is over"
    assert turns.look().look_again_s == 15
    turns.after(0.25, judgement=INCONCLUSIVE)
    assert not due(46)
    assert due(75)


def test_a_paused_canary_is_not_judged_but_kept_within_limits() -> None:
    turns = Turns(canary(analysis=CHECKED, paused=True))
    turns.spec = canary(analysis=CHECKED)
    turns.look()
    turns.spec = canary(analysis=CHECKED, paused=True)
    turns.look()
    assert not analysis_due(turns.spec, turns.current, turns.now + timedelta(hours=1))
    assert turns.after(1, judgement=FAILING) == "Paused 1 5%"
    assert turns.after(1, breach="errorRate") == "RolledBack 1 0%"


# --- pausing


@pytest.mark.parametrize("by", ["Spec", "Annotation"])
def test_a_pause_stops_the_clock_of_the_step(by: str) -> None:
    turns = Turns(canary(analysis=CHECKED))
    turns.look()
    turns.after(9, judgement=PASSING)
    turns.spec = canary(analysis=CHECKED, paused=by == "Spec")
    turns.annotation = "pause" if by == "Annotation" else ""
    assert turns.after(0.5) == "Paused 1 5%"
    assert turns.current.paused_by == by
    assert turns.after(600) == "Paused 1 5%"
    turns.spec, turns.annotation = canary(analysis=CHECKED), ""
    # What was found out before is no longer so.
    assert turns.after(1, judgement=FAILING) == "Progressing 1 5%"
    assert (turns.current.analysis, turns.current.since) == ("", turns.now)
    assert turns.after(9.9, judgement=PASSING) == "Progressing 1 5%"
    assert turns.after(0.1, judgement=PASSING) == "Progressing 2 25%"
    assert turns.told == ["CanaryStarted", "CanaryPaused", "CanaryResumed", "CanaryStepped"]


def test_a_canary_may_be_paused_before_it_begins() -> None:
    turns = Turns(canary(paused=True))
    assert turns.after(0) == "Paused 0 0%"
    assert turns.after(100) == "Paused 0 0%"
    turns.spec = canary()
    assert turns.after(1) == "Progressing 1 5%"
    assert turns.told == ["CanaryPaused", "CanaryResumed", "CanaryStarted"]


def test_a_step_without_a_duration_waits_to_be_resumed() -> None:
    turns = Turns(canary(steps=steps(5, (25, "10m"))))
    assert turns.after(0) == "Paused 1 5%"
    assert turns.current.paused_by == "Step"
    assert turns.told == ["CanaryStarted", "CanaryPaused"]
    assert "modelrouter.dev/canary=resume:1" in turns.current.message
    assert turns.after(10_000) == "Paused 1 5%"
    turns.annotation = "resume:2"
    assert turns.after(1) == "Paused 1 5%"
    turns.annotation = "resume:1"
    assert turns.after(1) == "Progressing 2 25%"
    assert turns.after(10) == "Promoted 2 100%"


def test_a_step_without_a_duration_waits_only_once_it_has_passed() -> None:
    turns = Turns(canary(steps=steps(5, 25), analysis=CHECKED))
    assert turns.after(0) == "Progressing 1 5%"
    turns.annotation = "resume:1"
    assert turns.after(1, judgement=INCONCLUSIVE) == "Progressing 1 5%"
    turns.annotation = ""
    assert turns.after(1, judgement=PASSING) == "Paused 1 5%"
    assert turns.after(1, judgement=INCONCLUSIVE) == "Paused 1 5%"
    turns.annotation = "resume:1"
    assert turns.after(1) == "Progressing 1 5%", "its last analysis did not pass"
    assert turns.after(1, judgement=PASSING) == "Progressing 2 25%"
    assert turns.after(1, judgement=FAILING) == "RolledBack 2 0%"


# --- levers


@pytest.mark.parametrize("by", ["Spec", "Annotation"])
@pytest.mark.parametrize("minutes", [[], [10], [10, 10], [10, 10, 10]], ids=len)
def test_the_kill_switch_works_in_every_phase(by: str, minutes: list[float]) -> None:
    turns = Turns(canary())
    turns.look()
    for more in minutes:
        turns.after(more)
    where = turns.current.step
    turns.spec = canary(aborted=by == "Spec", paused=True)
    turns.annotation = "abort" if by == "Annotation" else ""
    assert turns.after(1) == f"Aborted {where} 0%"
    assert turns.told[-1] == "CanaryAborted"
    before = turns.current
    assert turns.after(100) == f"Aborted {where} 0%"
    assert turns.current == before
    turns.spec, turns.annotation = canary(), ""
    assert turns.after(1) == "Progressing 1 5%"
    assert turns.told[-2:] == ["CanaryRestarted", "CanaryStarted"]


def test_a_canary_that_was_rolled_back_begins_anew_once_it_was_aborted() -> None:
    turns = Turns(canary())
    turns.look()
    turns.look(breach="errorRate")
    assert turns.after(100) == "RolledBack 1 0%"
    turns.spec = canary(aborted=True)
    assert turns.after(1) == "Aborted 1 0%"
    turns.spec = canary()
    assert turns.after(1) == "Progressing 1 5%"


@pytest.mark.parametrize("paused", [False, True])
def test_a_canary_is_promoted_by_name(paused: bool) -> None:
    turns = Turns(canary(paused=paused, analysis=CHECKED))
    turns.look()
    turns.annotation = "promote:other"
    turns.look()
    assert turns.current.phase == ("Paused" if paused else "Progressing")
    assert "this canary goes to new" in turns.current.message
    turns.annotation = "promote:new"
    turns.look()
    assert turns.current.phase == "Promoted"
    assert turns.current.weight == 100
    assert turns.current.message.startswith("promoted by the annotation modelrouter.dev/canary: ")


def test_nothing_is_promoted_that_cannot_answer() -> None:
    turns = Turns(canary())
    turns.look()
    turns.annotation = "promote:new"
    assert turns.after(1, candidate_ready=False) == "Progressing 1 5%"
    assert turns.after(1) == "Promoted 1 100%"


def test_a_canary_that_was_rolled_back_is_not_promoted() -> None:
    turns = Turns(canary())
    turns.look()
    turns.look(breach="errorRate")
    turns.annotation = "promote:new"
    assert turns.after(1) == "RolledBack 1 0%"


def test_orders_for_an_earlier_canary_do_not_count() -> None:
    turns = Turns(canary(steps=steps(5, (25, "10m"))))
    turns.annotation = "promote:new"
    assert turns.after(0) == "Paused 1 5%"
    assert "was there before this canary began" in turns.current.message
    turns.annotation = ""
    turns.after(1)
    assert "was there before" not in turns.current.message
    turns.annotation = "promote:new"
    assert turns.after(1) == "Promoted 1 100%"


def test_pausing_counts_from_the_beginning() -> None:
    turns = Turns(canary())
    turns.annotation = "pause"
    assert turns.after(0) == "Paused 0 0%"


@pytest.mark.parametrize("text", ["resume", "resume:0", "resume:x", "promote", "Abort", "stop"])
def test_an_order_that_is_not_understood_is_told(text: str) -> None:
    turns = Turns(canary())
    turns.look()
    turns.annotation = text
    assert turns.after(1) == "Progressing 1 5%"
    assert f"the annotation modelrouter.dev/canary: {text} is not understood" in (
        turns.current.message
    )


# --- hooks


def test_hooks_are_asked_before_each_step() -> None:
    hooks = [{"name": "load-test", "url": "http://tests/", "at": "BeforeStep"}]
    turns = Turns(canary(hooks=hooks, steps=steps((5, "10m"), (25, "10m"))))
    found = turns.look()
    assert (found.ask_before, found.look_again_s, turns.where) == (1, 0, "Pending 0 0%")
    found = turns.look(answer=StepAnswer(1, "load-test answered 503"))
    assert (found.ask_before, turns.where) == (1, "Pending 0 0%")
    assert turns.current.message == "step 1 waits: load-test answered 503"
    assert turns.look(answer=StepAnswer(1)).ask_before is None
    assert turns.where == "Progressing 1 5%"
    turns.now += timedelta(minutes=10)
    assert turns.look(answer=StepAnswer(1)).ask_before == 2, "that answer was for another step"
    assert turns.where == "Progressing 1 5%"
    assert turns.after(1, answer=StepAnswer(2)) == "Progressing 2 25%"
    assert turns.look().ask_before is None
    assert turns.after(10) == "Promoted 2 100%"


def test_a_canary_that_waits_for_a_hook_is_still_judged() -> None:
    hooks = [{"name": "load-test", "url": "http://tests/", "at": "BeforeStep"}]
    turns = Turns(canary(hooks=hooks, analysis=CHECKED))
    turns.look(answer=StepAnswer(1))
    assert turns.after(10, judgement=PASSING) == "Progressing 1 5%"
    assert turns.after(1, judgement=FAILING) == "RolledBack 1 0%"


def test_hooks_that_are_only_told_hold_nothing_up() -> None:
    hooks = [{"name": "chat", "url": "http://chat/", "at": "OnTransition"}]
    turns = Turns(canary(hooks=hooks))
    assert turns.look().transition
    assert turns.where == "Progressing 1 5%"


# --- changes of the spec


def at_the_second_step() -> Turns:
    turns = Turns(canary())
    turns.look()
    turns.after(10)
    assert turns.where == "Progressing 2 25%"
    return turns


@pytest.mark.parametrize(
    "change", [{"to": "newer"}, {"from": "older"}, {"rule": "other"}, {"match": {"models": ["m"]}}]
)
def test_another_canary_begins_anew(change: dict[str, object]) -> None:
    turns = at_the_second_step()
    turns.spec = canary(**change)
    assert turns.after(1) == "Progressing 1 5%"
    assert turns.told[-2:] == ["CanaryRestarted", "CanaryStarted"]


def test_another_canary_after_the_end_begins_too() -> None:
    turns = at_the_second_step()
    turns.look(breach="errorRate")
    turns.spec = canary(to="newer")
    assert turns.after(1) == "Progressing 1 5%"


def test_more_steps_later_change_nothing_now() -> None:
    turns = at_the_second_step()
    since = turns.current.since
    turns.spec = canary(steps=steps((5, "10m"), (25, "10m"), (30, "10m"), (75, "10m")))
    assert turns.after(5) == "Progressing 2 25%"
    assert (turns.current.since, turns.current.steps) == (since, 4)
    assert turns.after(5) == "Progressing 3 30%"


def test_fewer_steps_before_only_change_the_number() -> None:
    turns = at_the_second_step()
    since = turns.current.since
    turns.spec = canary(steps=steps((25, "10m"), (50, "10m")))
    assert turns.after(5) == "Progressing 1 25%"
    assert turns.current.since == since
    assert turns.after(5) == "Progressing 2 50%"


def test_a_weight_that_is_no_step_any_more_gives_way_to_the_next_larger_one() -> None:
    turns = at_the_second_step()
    turns.spec = canary(steps=steps((10, "10m"), (40, "10m"), (80, "10m")))
    assert turns.after(5) == "Progressing 2 40%"
    assert turns.current.since == turns.now
    assert turns.after(10) == "Progressing 3 80%"


def test_the_next_larger_step_asks_its_hooks_and_the_weight_stays_until_then() -> None:
    turns = at_the_second_step()
    hooks = [{"name": "load-test", "url": "http://tests/", "at": "BeforeStep"}]
    turns.spec = canary(
        steps=steps(
            (40, "10m"),
        ),
        hooks=hooks,
    )
    assert turns.look().ask_before == 1
    assert turns.where == "Progressing 2 25%"
    assert turns.after(1, answer=StepAnswer(1)) == "Progressing 1 40%"


def test_steps_below_the_weight_in_force_do_not_promote_at_once() -> None:
    turns = at_the_second_step()
    turns.spec = canary(steps=steps((5, "10m"), (10, "10m"), (20, "10m")))
    assert turns.after(9) == "Progressing 3 25%"
    assert turns.after(9) == "Progressing 3 25%"
    assert turns.after(1) == "Promoted 3 100%"


def test_a_duration_given_later_ends_the_wait_for_people() -> None:
    turns = Turns(canary(steps=steps(5, 25)))
    assert turns.after(0) == "Paused 1 5%"
    turns.spec = canary(steps=steps((5, "10m"), 25))
    assert turns.after(5) == "Progressing 1 5%"
    assert turns.after(5) == "Paused 2 25%"


def test_a_promoted_canary_stays_whatever_becomes_of_its_steps() -> None:
    turns = at_the_second_step()
    turns.after(10)
    assert turns.after(10) == "Promoted 3 100%"
    before = turns.current
    turns.spec = canary(steps=steps((1, "1h")), analysis=CHECKED)
    assert turns.after(10) == "Promoted 3 100%"
    assert turns.current == before


def test_applying_the_same_manifest_changes_nothing() -> None:
    turns = at_the_second_step()
    before: CanaryStatus = turns.current
    turns.spec = canary()
    found = turns.look()
    assert (found.status, found.events, found.transition) == (before, (), False)


def test_what_to_change_depends_on_what_was_split() -> None:
    turns = Turns(canary(rule=None))
    turns.look()
    turns.annotation = "promote:new"
    turns.look()
    assert "put new in place of old at the head of spec.pools" in turns.current.message
    turns = Turns(canary(match={"headers": [{"name": "x-team", "exact": "a"}]}))
    turns.look()
    turns.annotation = "promote:new"
    turns.look()
    assert "put a rule with these conditions" in turns.current.message
