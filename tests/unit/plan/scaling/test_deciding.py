"""The built-in autoscaler, driven through hours of simulated load."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelrouter.api.autoscaling import Autoscaling
from modelrouter.plan.scaling.deciding import Reason, ScalerState, begin, decide
from modelrouter.plan.scaling.load import Load

HOUR = 3600


def spec(**values: object) -> Autoscaling:
    given = {"minReplicas": 1, "maxReplicas": 10, "target": {"runningRequests": 10}, **values}
    return Autoscaling.model_validate(given)


def running(count: int, waiting: int = 0, ready: bool = True) -> Load:
    """Requests under way, all figures told."""
    return Load(count + waiting, waiting, float(count + waiting), ready)


def drive(
    asked: Autoscaling,
    load: Callable[[int], Load],
    seconds: Iterable[int],
    start: int | ScalerState = 1,
    startup: float = 0.0,
) -> list[ScalerState]:
    """The state after each second."""
    state = begin(start, 0.0) if isinstance(start, int) else start
    states = []
    for second in seconds:
        state = decide(asked, state, load(second), float(second), startup)
        states.append(state)
    return states


def changes(states: list[ScalerState]) -> list[int]:
    """The numbers of replicas, repeats left out."""
    counts = [state.replicas for state in states]
    return [n for i, n in enumerate(counts) if i == 0 or n != counts[i - 1]]


def test_more_load_is_answered_at_once_and_less_after_the_delay() -> None:
    asked = spec(scaleDownDelay="5m")
    states = drive(asked, lambda s: running(45 if s < 600 else 12), range(1200))
    assert states[0].replicas == 5
    assert states[899].replicas == 5
    assert states[902].replicas == 2
    assert changes(states) == [5, 2]


@pytest.mark.parametrize(
    ("load", "replicas"),
    [(36, 4), (40, 4), (44, 4), (45, 5), (30, 3), (0, 1), (1000, 10)],
)
def test_a_load_within_a_tenth_of_the_target_changes_nothing(load: int, replicas: int) -> None:
    states = drive(spec(scaleDownDelay="1m"), lambda _: running(load), range(200), start=4)
    assert states[-1].replicas == replicas


def test_from_zero_at_the_first_request_that_waits() -> None:
    asked = spec(minReplicas=0)
    idle = drive(asked, lambda _: running(0, ready=False), range(10), start=0)
    assert [state.replicas for state in idle] == [0] * 10
    assert idle[-1].reason is Reason.SCALED_TO_ZERO
    assert decide(asked, idle[-1], running(0, waiting=1, ready=False), 9.01).replicas == 1
    assert decide(asked, idle[-1], running(0, waiting=55, ready=False), 9.01).replicas == 6


@pytest.mark.parametrize("metric", ["runningRequests", "waitingRequests", "kvCachePercent"])
def test_to_zero_only_after_the_delay_without_any_request(metric: str) -> None:
    asked = spec(minReplicas=0, target={metric: 10}, scaleDownDelay="5m")

    def load(second: int) -> Load:
        # The figures of the servers are at nought although a request is under way.
        requests = 1 if second < 1000 else 0
        return Load(requests, 0, float(requests) if metric == "runningRequests" else 0.0)

    states = drive(asked, load, range(2000))
    assert states[1298].replicas == 1
    assert states[1301].replicas == 0
    assert changes(states) == [1, 0]


def test_a_replica_that_still_starts_is_not_given_up_because_nobody_waits_any_more() -> None:
    asked = spec(minReplicas=0, scaleDownDelay="1m")

    def load(second: int) -> Load:
        return running(0, waiting=1 if second == 10 else 0, ready=second >= 600)

    states = drive(asked, load, range(1000), start=0, startup=1800)
    assert changes(states) == [0, 1, 0]
    assert states[650].replicas == 1
    assert states[661].replicas == 0
    # One that never gets ready is given up in the end.
    states = drive(asked, lambda s: running(0, 1 if s == 10 else 0, False), range(900), 0, 300)
    assert changes(states) == [0, 1, 0]
    assert states[369].replicas == 1


@settings(deadline=None, max_examples=15)
@given(
    every=st.integers(1, 299),
    lasting=st.integers(1, 60),
    target=st.sampled_from(["runningRequests", "waitingRequests", "kvCachePercent"]),
    start=st.integers(0, 3),
)
def test_a_steady_trickle_never_makes_it_flap(
    every: int, lasting: int, target: str, start: int
) -> None:
    asked = spec(minReplicas=0, target={target: 10}, scaleDownDelay="5m")

    def load(second: int) -> Load:
        requests = second // every - (second - lasting) // every
        amount = {"runningRequests": float(requests), "kvCachePercent": requests / 10}
        return Load(requests, 0, amount.get(target, 0.0))

    states = drive(asked, load, range(2 * HOUR), start=start)
    later = changes(states[HOUR:])
    # Overlapping requests may need more than one replica, but always the same number.
    assert len(later) == 1
    assert later[0] >= 1


@settings(deadline=None, max_examples=60)
@given(load=st.integers(0, 120), start=st.integers(0, 12), target=st.integers(1, 30))
def test_a_constant_load_comes_to_rest(load: int, start: int, target: int) -> None:
    asked = spec(minReplicas=0, target={"runningRequests": target}, scaleDownDelay="1m")
    states = drive(asked, lambda _: running(load), range(600), start=start)
    at_rest = states[-1].replicas
    assert len(changes(states)) <= 3
    assert {state.replicas for state in states[130:]} == {at_rest}
    needed = min(math.ceil(load / target), 10)
    assert needed - 1 <= at_rest <= max(needed, min(start, 10))
    assert at_rest * target * 1.1 >= min(load, 10 * target)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 200), min_size=60, max_size=120), st.integers(1, 10))
def test_whatever_the_load_fewer_come_only_after_a_window_in_which_fewer_were_enough(
    loads: list[int], start: int
) -> None:
    asked = spec(minReplicas=0, scaleDownDelay="1m")
    states = drive(asked, lambda s: running(loads[s // 10]), range(len(loads) * 10), start)
    for second, (before, after) in enumerate(itertools.pairwise(states), start=1):
        assert len(after.history.marks) <= 22
        if after.replicas < before.replicas:
            window = [min(math.ceil(loads[s // 10] / 10), 10) for s in range(second - 59, second)]
            assert second >= 60
            assert max(window) <= before.replicas
            assert after.replicas >= max(window) - 1


def test_what_is_not_known_never_takes_a_replica_away_but_may_add_one() -> None:
    asked = spec(minReplicas=0, scaleDownDelay="1m")
    blind = Load(0, 0, 0.0, missing=("router pod r-1",))
    states = drive(asked, lambda _: blind, range(HOUR), start=3)
    assert changes(states) == [3]
    assert states[-1].reason is Reason.LOAD_UNKNOWN
    assert "router pod r-1" in states[-1].message
    half = Load(70, 0, 70.0, missing=("router pod r-1",))
    assert decide(asked, states[-1], half, HOUR).replicas == 7
    # Once all is told again, the window counts from there.
    states = drive(asked, lambda _: running(0), range(HOUR, HOUR + 100), start=states[-1])
    assert states[58].replicas == 3
    assert states[62].replicas == 0


def test_a_moment_without_figures_is_not_worth_telling() -> None:
    asked = spec()
    told = drive(
        asked,
        lambda s: Load(5, 0, 5.0, missing=("pod a",) if s % 10 else ()),
        range(100),
    )
    assert {state.reason for state in told} == {Reason.AT_MINIMUM}


def test_a_new_leader_takes_nothing_away_before_it_has_seen_a_whole_window() -> None:
    asked = spec(scaleDownDelay="5m")
    state = begin(8, now=1000.0)
    for second in range(1001, 1301):
        state = decide(asked, state, running(5), float(second))
        assert state.replicas == 8
    assert decide(asked, state, running(5), 1302.0).replicas == 1


def test_a_new_leader_lets_a_first_replica_start_in_peace() -> None:
    asked = spec(minReplicas=0, scaleDownDelay="1m")
    nobody = running(0, ready=False)
    states = drive(asked, lambda s: nobody if s < 500 else running(0), range(700), 1, 1800)
    assert changes(states) == [1, 0]
    assert states[499].replicas == 1


def test_other_bounds_hold_at_once() -> None:
    state = drive(spec(), lambda _: running(80), range(5))[-1]
    assert state.replicas == 8
    assert decide(spec(maxReplicas=4), state, running(80), 5.0).replicas == 4
    assert decide(spec(minReplicas=9), state, running(80), 5.0).replicas == 9


def test_a_load_for_more_than_the_maximum_is_told() -> None:
    states = drive(spec(maxReplicas=3), lambda s: running(80 if s < 50 else 25), range(500))
    assert states[0].reason is Reason.AT_MAXIMUM
    assert states[0].message == (
        "80 requests under way (target 10 per replica); lately the load asked for 8 replicas, and "
        "maxReplicas is 3"
    )
    # A load that comes and goes around the bound is told once, not with every change.
    assert states[200].reason is Reason.AT_MAXIMUM
    assert states[-1].reason is Reason.WITHIN_TARGET


def test_an_empty_queue_takes_one_replica_away_at_a_time() -> None:
    asked = spec(target={"waitingRequests": 5}, scaleDownDelay="1m")

    def load(second: int) -> Load:
        # Two replicas keep the queue empty; one does not.
        return Load(30, 0, 20.0 if second < 5 else 0.0)

    states = drive(asked, load, range(180))
    assert changes(states) == [4, 3, 2]
    nothing = drive(asked, lambda _: Load(0, 0, 0.0), range(180, 400), start=states[-1])
    assert nothing[-1].replicas == 1


def test_the_message_stays_until_something_turns() -> None:
    states = drive(spec(), lambda s: running(31 + s % 3), range(100))
    assert len({state.message for state in states}) == 1
    assert (
        states[0].message == "31 requests under way (target 10 per replica): 4 replicas carry that"
    )
