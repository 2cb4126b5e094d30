"""The spec of a canary changes while it runs."""

from __future__ import annotations

import pytest

from modelrouter.api.canary_status import CanaryStatus
from modelrouter.plan.canary.evidence import StepAnswer
from unit.plan.canary.turns import CHECKED, Turns, canary, steps


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
