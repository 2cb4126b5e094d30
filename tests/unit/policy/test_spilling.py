"""A pool with too few healthy endpoints gives a share of its requests to the next one."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrouter.api.route import StickyBy
from modelrouter.policy.deciding import decide
from modelrouter.policy.sharing import shared
from modelrouter.policy.spilling import shortfall
from modelrouter.policy.state import PoolState
from unit.policy.builders import DEAD, facts, policy, pool, route, rule, state, went

POOLS = {"a": pool(), "b": pool(), "c": pool()}
NAMES = ["a", "b", "c"]
HALF = policy(POOLS, route(NAMES, rule("default", "a", failover=["b", "c"], min_healthy=50)))
MANY = [facts(request_id=f"request-{n}") for n in range(2000)]


@pytest.mark.parametrize(
    ("known", "percent", "share"),
    [
        (PoolState(ready=4, endpoints=4), 100, 0.0),
        (PoolState(ready=3, endpoints=4), 100, 0.25),
        (PoolState(ready=1, endpoints=4), 50, 0.5),
        (PoolState(ready=2, endpoints=4), 50, 0.0),
        (PoolState(ready=3, endpoints=10), 50, 0.4),
        (PoolState(ready=1, endpoints=1, absent=3), 50, 0.5),
        (PoolState(ready=0, endpoints=4), 50, 1.0),
        (PoolState(ready=0, endpoints=0), 50, 1.0),
        (PoolState(ready=1, endpoints=4), 0, 0.0),
        (PoolState(ready=None, endpoints=4), 50, 0.0),
        (PoolState(ready=1, endpoints=None), 50, 0.0),
        (None, 50, 0.0),
    ],
)
def test_how_much_a_pool_gives_away(known: PoolState | None, percent: int, share: float) -> None:
    assert shortfall(known, percent) == pytest.approx(share)


def pools_of(known: dict[str, PoolState]) -> list[str]:
    return [decide(each, HALF, known).pools[0] for each in MANY]


def test_that_share_of_the_requests_goes_to_the_next_pool() -> None:
    went_to = Counter(pools_of(state(a=PoolState(ready=3, endpoints=10))))
    assert went_to["b"] / len(MANY) == pytest.approx(0.4, abs=0.04)
    assert went_to["c"] == 0


def test_the_next_pool_gives_away_its_share_of_that() -> None:
    weak = PoolState(ready=1, endpoints=4)
    went_to = Counter(pools_of(state(a=weak, b=weak)))
    assert went_to["a"] / len(MANY) == pytest.approx(0.5, abs=0.04)
    assert went_to["b"] / len(MANY) == pytest.approx(0.25, abs=0.04)
    assert went_to["c"] / len(MANY) == pytest.approx(0.25, abs=0.04)


def test_what_spills_over_may_come_back_when_the_others_fail() -> None:
    weak = state(a=PoolState(ready=1, endpoints=4))
    decision = next(d for each in MANY if (d := decide(each, HALF, weak)).pools[0] == "b")
    assert decision.pools == ("b", "c", "a")
    assert decision.reason == "rule:default; a spills over"


def test_while_a_pool_gets_worse_no_request_comes_back() -> None:
    gone: set[int] = set()
    for ready in range(10, -1, -1):
        known = state(a=PoolState(ready=ready, endpoints=20))
        now = {n for n, name in enumerate(pools_of(known)) if name != "a"}
        assert gone <= now
        gone = now
    assert len(gone) == len(MANY)


def test_a_session_spills_over_as_one() -> None:
    sticky = policy(
        POOLS,
        route(
            NAMES,
            rule("default", {"a": 1, "c": 1}, failover=["b"], min_healthy=100),
            sticky=StickyBy.SESSION,
        ),
    )
    known = state(a=PoolState(ready=1, endpoints=2), c=PoolState(ready=1, endpoints=2))
    for session in range(50):
        headers = {"x-session-id": f"session-{session}"}
        first, second = (
            went(sticky, facts(request_id=name, headers=headers), known).pools for name in "xy"
        )
        assert first == second


def test_which_requests_spill_over_has_nothing_to_do_with_which_target_they_go_to() -> None:
    both = policy(
        POOLS, route(NAMES, rule("default", {"a": 1, "b": 1}, failover=["c"], min_healthy=100))
    )
    known = state(a=PoolState(ready=1, endpoints=2), b=PoolState(ready=1, endpoints=2))
    went_to = Counter(decide(each, both, known).pools[0] for each in MANY)
    assert went_to["a"] / len(MANY) == pytest.approx(0.25, abs=0.04)
    assert went_to["b"] / len(MANY) == pytest.approx(0.25, abs=0.04)


def test_a_request_that_may_not_leave_does_not_spill_over() -> None:
    closed = policy(POOLS, route(NAMES, rule("default", "a", min_healthy=100)))
    known = state(a=PoolState(ready=1, endpoints=10))
    assert {decide(each, closed, known).pools for each in MANY} == {("a",)}


def test_nothing_spills_into_a_dead_pool() -> None:
    known = state(a=PoolState(ready=1, endpoints=10), b=DEAD, c=DEAD)
    assert set(pools_of(known)) == {"a"}


def test_decisions_are_not_shared_while_a_pool_spills_over() -> None:
    well, weak = (state(a=PoolState(ready=n, endpoints=4)) for n in (4, 1))
    for known, alike in ((well, True), (weak, False)):
        for each in MANY[:20]:
            decision = decide(each, HALF, known)
            assert (shared(each, decision, HALF, known) is not None) is alike


@given(
    st.integers(0, 100),
    st.integers(0, 5),
    st.integers(0, 5),
    st.integers(0, 5),
    st.text(min_size=1),
)
def test_the_pools_are_the_same_in_any_health(
    percent: int, ready: int, sick: int, absent: int, request_id: str
) -> None:
    the_policy = policy(
        POOLS, route(NAMES, rule("default", "a", failover=["b", "c"], min_healthy=percent))
    )
    known = state(a=PoolState(ready=max(ready, 1), endpoints=max(ready, 1) + sick, absent=absent))
    decision = went(the_policy, facts(request_id=request_id), known)
    assert sorted(decision.pools) == NAMES
    assert decision.refusal is None
    if max(ready, 1) * 100 >= percent * (max(ready, 1) + sick + absent):
        assert decision.pools == tuple(NAMES)
