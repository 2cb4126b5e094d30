"""Given a pool that is scaled to zero, a request waits for it or goes elsewhere, and wakes it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from modelrouter.api.autoscaling import OnColdStart
from modelrouter.policy.compiling import Policy
from modelrouter.policy.decision import Obstacle, Rejection
from modelrouter.policy.state import PoolState
from unit.policy.builders import COLD, DEAD, facts, policy, pool, route, rule, state, went

WAIT, FAILOVER = OnColdStart.WAIT, OnColdStart.FAILOVER


def a_then_b(on_cold_start: OnColdStart) -> Policy:
    return policy(
        {"a": pool(cold_start=on_cold_start), "b": pool()},
        route(["a", "b"], rule("default", "a", failover=["a", "b"])),
    )


def test_a_request_waits_for_its_pool_though_another_is_ready() -> None:
    decision = went(a_then_b(WAIT), state=state(a=COLD))
    assert (decision.waits, decision.wakes) == (True, "a")
    assert decision.pools == ("a", "b")
    assert decision.reason == "rule:default; a cold"
    assert decision.rejected == (Rejection("a", Obstacle.COLD, "scaled to zero"),)


def test_with_failover_another_pool_takes_it_and_the_first_is_woken() -> None:
    decision = went(a_then_b(FAILOVER), state=state(a=COLD))
    assert (decision.waits, decision.wakes) == (False, "a")
    assert decision.chain == ("b", "b")
    assert decision.reason == "rule:default; failover, a cold"


@pytest.mark.parametrize("b", [DEAD, PoolState(ready=1, endpoints=1, in_flight=8)])
def test_with_failover_and_nowhere_to_go_it_waits(b: PoolState) -> None:
    the_policy = policy(
        {"a": pool(cold_start=FAILOVER), "b": pool(limit=8)},
        route(["a", "b"], rule("default", "a", failover=["b"])),
    )
    decision = went(the_policy, state=state(a=COLD, b=b))
    assert (decision.waits, decision.wakes) == (True, "a")


def test_nobody_waits_for_the_next_pool_while_another_is_ready() -> None:
    the_policy = policy(
        {"a": pool(), "b": pool(cold_start=WAIT), "c": pool()},
        route(["a", "b", "c"], rule("default", "a", failover=["b", "c"])),
    )
    decision = went(the_policy, state=state(a=DEAD, b=COLD))
    assert (decision.waits, decision.wakes, decision.pools) == (False, "b", ("c",))
    alone = went(the_policy, state=state(a=DEAD, b=COLD, c=DEAD))
    assert (alone.waits, alone.wakes) == (True, "b")


def test_only_requests_that_it_would_get_wait_for_a_pool() -> None:
    the_policy = policy(
        {"a": pool(cold_start=WAIT), "b": pool()},
        route(["a", "b"], rule("default", {"a": 3, "b": 1}, failover=["a", "b"])),
    )
    decisions = [went(the_policy, facts(request_id=f"r{n}"), state(a=COLD)) for n in range(2000)]
    shares = Counter((each.pools[0], each.waits, each.wakes) for each in decisions)
    assert set(shares) == {("a", True, "a"), ("b", False, "")}
    assert 0.7 < shares["a", True, "a"] / 2000 < 0.8


def test_at_the_bound_another_pool_takes_it_or_it_is_refused() -> None:
    full = replace(COLD, waiting=100)
    decision = went(a_then_b(WAIT), state=state(a=full))
    assert (decision.waits, decision.wakes, decision.pools) == (False, "a", ("b",))

    refused = went(a_then_b(WAIT), state=state(a=full, b=DEAD))
    assert refused.refusal is not None
    assert (refused.refusal.status, refused.refusal.code) == (503, "cold_start_full")
    assert refused.refusal.retry_after == 10
    assert refused.wakes == "a"


def test_a_pool_that_is_broken_or_does_not_scale_from_zero_is_not_waited_for() -> None:
    assert went(a_then_b(WAIT), state=state(a=DEAD)).pools == ("b",)
    the_policy = policy(
        {"a": pool(), "b": pool()}, route(["a", "b"], rule("default", "a", failover=["b"]))
    )
    decision = went(the_policy, state=state(a=COLD))
    assert (decision.waits, decision.wakes, decision.pools) == (False, "", ("b",))


def test_a_pool_that_may_not_see_the_request_is_not_woken() -> None:
    the_policy = policy(
        {"a": pool(cold_start=WAIT), "b": pool(classes=["secret"])},
        route(["a", "b"], rule("default", "a", failover=["b"])),
    )
    decision = went(the_policy, facts(classes=("secret",)), state(a=COLD))
    assert (decision.waits, decision.wakes, decision.pools) == (False, "", ("b",))
