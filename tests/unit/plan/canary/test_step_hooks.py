"""Hooks let the steps of a canary begin, or keep them waiting."""

from __future__ import annotations

from datetime import timedelta

from modelrouter.plan.canary.evidence import StepAnswer
from unit.plan.canary.turns import CHECKED, FAILING, PASSING, Turns, canary, steps


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
