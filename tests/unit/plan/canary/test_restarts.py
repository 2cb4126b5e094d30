"""An operator may be killed anywhere: no step is skipped, and none is taken twice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelrouter.api.canary import Canary
from modelrouter.api.canary_status import CanaryStatus, read_canary_status
from modelrouter.plan.canary.advancing import advance, analysis_due
from modelrouter.plan.canary.evidence import Evidence, StepAnswer
from unit.plan.canary.turns import CHECKED, FAILING, INCONCLUSIVE, NOON, PASSING, canary, steps

WEIGHTS = [5, 25, 50, 75]
HOOKS = [{"name": "load-test", "url": "http://tests/", "at": "BeforeStep"}]

moments = st.fixed_dictionaries(
    {
        "seconds": st.sampled_from([0, 1, 15, 30, 31, 60, 600]),
        "lost": st.booleans(),  # killed before the status was written
        "judgement": st.sampled_from([PASSING, PASSING, PASSING, INCONCLUSIVE, FAILING]),
        "agrees": st.sampled_from([True, True, False]),
        "ready": st.sampled_from([True, True, True, False]),
        "paused": st.sampled_from([False] * 5 + [True]),
        "annotation": st.sampled_from(["", "", "", "resume:2", "resume:4", "pause", "nonsense"]),
    }
)
specs = st.builds(
    lambda pauses, checked, hooked: {
        "steps": steps(*zip(WEIGHTS, pauses, strict=True)),
        "analysis": {**CHECKED, "failuresBeforeRollback": 3} if checked else {},
        "hooks": HOOKS if hooked else [],
    },
    st.lists(st.sampled_from(["1s", "30s", "2m"]), min_size=4, max_size=4),
    st.booleans(),
    st.booleans(),
)


def look(
    spec: Canary, status: CanaryStatus | None, moment: dict[str, Any], now: Any
) -> CanaryStatus:
    """One look, with the hooks asked if that is wanted, as the operator does it."""
    due = status is not None and analysis_due(spec, status, now)
    known: dict[str, Any] = {
        "candidate_ready": moment["ready"],
        "annotation": moment["annotation"],
        "judgement": moment["judgement"] if due else None,
    }
    found = advance(spec, status, Evidence(**known), now)
    assert found == advance(spec, status, Evidence(**known), now), "equal input, equal result"
    if found.ask_before is not None:
        refusal = "" if moment["agrees"] else "load-test answered 503"
        known |= {"answer": StepAnswer(found.ask_before, refusal), "judgement": None}
        found = advance(spec, found.status, Evidence(**known), now)
    return found.status


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(told=specs, story=st.lists(moments, max_size=60))
def test_steps_come_in_order_each_once(told: dict[str, Any], story: list[dict[str, Any]]) -> None:
    status: CanaryStatus | None = None
    remembered: CanaryStatus | None = None
    now, begun = NOON, [0]
    for moment in story:
        now += timedelta(seconds=moment["seconds"])
        spec = canary(**told, paused=moment["paused"])
        after = look(spec, status, moment, now)
        assert after == look(spec, remembered, moment, now), "memory tells nothing more"
        if moment["lost"]:
            continue
        if status is not None and after.phase.running and status.step != after.step:
            # The one before was there for as long as it should be.
            if status.step:
                pause = spec.steps[status.step - 1].seconds
                assert pause is not None
                assert (now - status.since).total_seconds() >= pause
            assert after.step == status.step + 1
            assert after.weight == WEIGHTS[after.step - 1]
            begun.append(after.step)
        remembered, status = after, read_canary_status(after.document())
        assert status == after
    assert begun == sorted(set(begun)), "none twice"
    if status is not None and status.phase == "Promoted":
        assert status.step == len(WEIGHTS)
    elif begun == [0] and (status is None or not status.step):
        assert status is None or status.weight == 0
