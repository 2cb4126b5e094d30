"""Given pools that are down or full, requests go elsewhere as long as there is an elsewhere."""

from __future__ import annotations

import pytest

from modelrouter.policy.decision import Obstacle, Rejection
from modelrouter.policy.state import PoolState
from unit.policy.builders import DEAD, LLAMA_AND_GPT, facts, policy, pool, route, rule, state, went


def test_an_unhealthy_target_is_passed_over() -> None:
    decision = went(LLAMA_AND_GPT, state=state(llama=DEAD))
    assert decision.chain == ("gpt", "gpt")
    assert decision.reason == "rule:default; failover, llama unhealthy"
    assert decision.rejected == (Rejection("llama", Obstacle.UNHEALTHY, "no endpoint is ready"),)


def test_another_target_takes_over_before_failover_does() -> None:
    the_policy = policy(
        {"a": pool(), "b": pool(), "c": pool()},
        route(["a", "b", "c"], rule("default", {"a": 99, "b": 1}, failover=["c"])),
    )
    decision = went(the_policy, state=state(a=DEAD))
    assert decision.pools == ("b", "c")
    assert decision.reason == "rule:default; a unhealthy"


def test_an_unhealthy_failover_pool_leaves_the_chain_but_not_the_reason() -> None:
    decision = went(LLAMA_AND_GPT, state=state(gpt=DEAD))
    assert decision.chain == ("llama", "llama")
    assert decision.reason == "rule:default"
    assert decision.rejected == (Rejection("gpt", Obstacle.UNHEALTHY, "no endpoint is ready"),)


def test_with_failover_none_a_request_never_leaves_its_pool() -> None:
    the_policy = policy({"a": pool(), "b": pool()}, route(["a", "b"], rule("default", "a")))
    decision = went(the_policy, state=state(a=DEAD))
    assert decision.chain == ("a", "a")
    assert decision.reason == "rule:default; no healthy pool, a unhealthy"


def test_when_nothing_is_healthy_the_chain_stays_and_envoy_decides() -> None:
    decision = went(LLAMA_AND_GPT, state=state(llama=DEAD, gpt=DEAD))
    assert decision.refusal is None
    assert decision.pools == ("llama", "gpt")


@pytest.mark.parametrize(
    ("known", "full"),
    [
        (PoolState(ready=2, endpoints=3, in_flight=15), False),
        (PoolState(ready=2, endpoints=3, in_flight=16), True),
        (PoolState(ready=None, endpoints=3, in_flight=23), False),
        (PoolState(ready=None, endpoints=3, in_flight=24), True),
        (PoolState(ready=None, endpoints=None, in_flight=8), True),
        (PoolState(ready=None, endpoints=0, in_flight=8), True),
    ],
)
def test_a_full_pool_is_passed_over(known: PoolState, full: bool) -> None:
    the_policy = policy(
        {"a": pool(limit=8), "b": pool()},
        route(["a", "b"], rule("default", "a", failover=["b"])),
    )
    decision = went(the_policy, state=state(a=known))
    assert (decision.pools[0] == "b") is full
    assert (decision.reason == "rule:default; failover, a saturated") is full


def test_a_pool_without_a_limit_is_never_full() -> None:
    assert went(LLAMA_AND_GPT, state=state(llama=PoolState(1, 1, 10**9))).rejected == ()


@pytest.mark.parametrize("gpt", [PoolState(1, 1, 8), DEAD])
def test_when_all_that_live_are_full_the_request_is_refused(gpt: PoolState) -> None:
    the_policy = policy(
        {"llama": pool(limit=8), "gpt": pool(limit=8)},
        route(["llama", "gpt"], rule("default", "llama", failover=["gpt"])),
    )
    decision = went(the_policy, state=state(llama=PoolState(1, 1, 8), gpt=gpt))
    assert decision.refusal is not None
    assert decision.refusal.status == 503
    assert decision.refusal.type == "server_error"
    assert decision.refusal.code == "overloaded"
    assert decision.refusal.retry_after == 1
    assert decision.rejected[0].reason is Obstacle.SATURATED


def test_a_rule_whose_pools_do_not_exist_refuses_instead_of_letting_requests_out() -> None:
    the_policy = policy(
        {"a": pool()},
        route(["a"], rule("stays-home", {}, classes=["secret"]), rule("default", "a")),
    )
    decision = went(the_policy, facts(classes=("secret",)))
    assert decision.refusal is not None
    assert (decision.refusal.status, decision.refusal.code) == (503, "no_pool")
    assert decision.chain == ()
    assert went(the_policy).chain == ("a", "a")
