"""A canary goes on by its spec, its status and what is known, and by nothing else."""

from __future__ import annotations

from datetime import timedelta

from unit.plan.canary.turns import CHECKED, Turns, canary


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
