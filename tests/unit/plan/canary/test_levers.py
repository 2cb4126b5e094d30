"""The levers of a canary: people pause, resume, abort and promote it."""

from __future__ import annotations

import pytest

from unit.plan.canary.turns import CHECKED, FAILING, INCONCLUSIVE, PASSING, Turns, canary, steps


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
