"""What an analysis says ends a step, or rolls a canary back."""

from __future__ import annotations

from datetime import timedelta

from modelrouter.plan.canary.advancing import analysis_due
from unit.plan.canary.turns import CHECKED, FAILING, INCONCLUSIVE, PASSING, Turns, canary, steps


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
