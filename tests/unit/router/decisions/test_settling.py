"""A plan is named only when every request that is under way can find it."""

from __future__ import annotations

from modelrouter.router.decisions.settling import SETTLING_SECONDS, SettledPlans


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_plans_settle() -> None:
    clock = Clock()
    plans = SettledPlans(clock)
    assert "a" not in plans
    plans.replace(dict.fromkeys("ab"))
    assert "a" in plans, "before the first table no request could begin"
    assert plans.changes_at == float("inf")

    plans.replace(dict.fromkeys("ac"))
    assert "a" in plans
    assert "b" not in plans, "Envoy has it no more"
    assert "c" not in plans, "requests that began earlier would not find it"
    assert plans.changes_at == clock.now + SETTLING_SECONDS

    clock.now += SETTLING_SECONDS / 2
    plans.replace(dict.fromkeys("acd"))
    clock.now = plans.changes_at
    assert "c" in plans
    assert "d" not in plans
    plans.note_change()
    clock.now = plans.changes_at
    assert {"a", "c", "d"} <= {key for key in "abcd" if key in plans}
    plans.note_change()
    assert plans.changes_at == float("inf")


def test_a_plan_that_was_away_settles_again() -> None:
    clock = Clock()
    plans = SettledPlans(clock)
    plans.replace({"a": None})
    plans.replace({})
    plans.replace({"a": None})
    assert "a" not in plans
