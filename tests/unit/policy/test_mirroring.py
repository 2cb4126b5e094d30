"""Which requests are copied: those that the other pool may see and can answer, and no more."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrouter.api.autoscaling import OnColdStart
from modelrouter.api.pool import LoadBalancing
from modelrouter.api.router_config import MirrorConfig, PoolConfig
from modelrouter.policy.compiling import Policy, compile_policy
from modelrouter.policy.constraints import find_obstacle
from modelrouter.policy.decision import Mirroring
from modelrouter.policy.rendezvous import fraction, hashed
from modelrouter.policy.request import RequestFacts
from modelrouter.policy.sharing import shared
from modelrouter.policy.state import PoolState, State
from unit.policy.builders import COLD, DEAD, config, facts, policy, pool, route, rule, went

STABLE = rule("stable", "a", failover=["a"])
CLASSES = ["public", "internal", "secret"]


def mirrored(
    b: PoolConfig | None = None,
    *rules: Any,
    others: dict[str, PoolConfig] | None = None,
    **mirror: Any,
) -> Policy:
    """The pool `a` serves all, `b` gets copies."""
    a = pool(classes=CLASSES)
    pools = {"a": a, "b": b or pool(), **(others or {})}
    the_route = route(list(pools), *(rules or (STABLE,)))
    wanted = MirrorConfig(pool="b", **mirror)
    return policy(pools, the_route.model_copy(update={"mirror": wanted}))


def copy_of(the_policy: Policy, request: RequestFacts, state: State | None = None) -> Any:
    return went(the_policy, request, state).mirror


def test_all_requests_are_copied() -> None:
    assert copy_of(mirrored(), facts()) == Mirroring("b")


def test_the_decision_itself_is_the_same() -> None:
    plain = policy({"a": pool(classes=CLASSES), "b": pool()}, route(["a", "b"], STABLE))
    decision = went(mirrored(), facts())
    assert decision._replace(mirror=None) == went(plain, facts())


def test_a_share_of_the_requests_is_copied() -> None:
    the_policy = mirrored(percent=10)
    copied = sum(
        copy_of(the_policy, facts(request_id=f"id-{n}")) is not None for n in range(10_000)
    )
    assert 850 < copied < 1150


def test_the_copied_share_has_the_mixture_of_all() -> None:
    split = rule("split", {"a": 50, "c": 50})
    the_policy = mirrored(None, split, others={"c": pool()}, percent=20)
    decisions = [went(the_policy, facts(request_id=f"id-{n}")) for n in range(10_000)]
    copied = [decision.pools[0] for decision in decisions if decision.mirror]
    assert 0.45 < copied.count("a") / len(copied) < 0.55


def test_only_requests_of_the_rule() -> None:
    other = rule("labelled", "a", classes=["internal"])
    the_policy = mirrored(pool(classes=CLASSES), other, STABLE, rule="labelled")
    assert copy_of(the_policy, facts(classes=("internal",))) == Mirroring("b")
    assert copy_of(the_policy, facts()) is None


def test_no_copy_goes_where_the_request_goes_anyway() -> None:
    the_policy = mirrored(None, rule("split", {"a": 1, "b": 1}))
    seen = {
        (decision.pools[0], decision.mirror)
        for decision in (went(the_policy, facts(request_id=f"id-{n}")) for n in range(50))
    }
    assert seen == {("a", Mirroring("b")), ("b", None)}


@pytest.mark.parametrize(
    ("b", "request_"),
    [
        (pool(classes=["internal"]), {"classes": ("secret",)}),
        (pool(classes=["internal"]), {"classes": ("internal", "secret")}),
        (pool(window=100), {"completion_tokens": 200}),
        (pool(features=["images"]), {"features": ("tools",)}),
    ],
    ids=["class", "one of its classes", "window", "features"],
)
def test_what_forbids_routing_forbids_copying(b: PoolConfig, request_: dict[str, Any]) -> None:
    assert copy_of(mirrored(b), facts(**request_)) is None
    assert copy_of(mirrored(b), facts()) == Mirroring("b")


def test_a_pool_at_zero_is_not_woken() -> None:
    decision = went(mirrored(pool(cold_start=OnColdStart.WAIT)), facts(), {"b": COLD})
    assert decision.mirror is None
    assert not decision.wakes


def test_a_dead_pool_gets_copies_whose_failures_are_counted() -> None:
    assert copy_of(mirrored(), facts(), {"b": DEAD}) == Mirroring("b")


def test_the_limit_of_the_pool_holds_for_copies() -> None:
    the_policy = mirrored(pool(limit=2))
    busy = {"b": PoolState(ready=1, endpoints=1, in_flight=2)}
    assert copy_of(the_policy, facts(), busy) is None
    busy["b"].in_flight = 1
    assert copy_of(the_policy, facts(), busy) == Mirroring("b")


def test_an_evaluator_that_may_not_see_the_data_is_not_asked() -> None:
    the_policy = mirrored(
        pool(classes=CLASSES), others={"c": pool(classes=["internal"])}, compare=True, evaluator="c"
    )
    labelled = facts(classes=("secret",))
    assert copy_of(the_policy, facts()) == Mirroring("b", True, True)
    assert copy_of(the_policy, labelled) == Mirroring("b", True, False)


def test_a_pool_outside_the_allow_list_is_no_mirror() -> None:
    the_route = route(["a"], STABLE).model_copy(update={"mirror": MirrorConfig(pool="b")})
    with pytest.raises(ValueError, match="mirror pool b is not among the route's pools"):
        compile_policy(config({"a": pool(), "b": pool()}, r=the_route))


def test_a_copy_is_placed_by_its_own_pools_hash() -> None:
    decision = went(mirrored(pool(balancing=LoadBalancing.PREFIX_HASH)), facts())
    assert decision.hash_key == facts().prefix_key


# Shared decisions


def common_of(the_policy: Policy, request: RequestFacts, state: State | None = None) -> Any:
    return shared(request, went(the_policy, request, state), the_policy, state or {})


def test_copies_are_shared_with_their_share() -> None:
    common = common_of(mirrored(percent=20), facts())
    assert (common.mirror.mirroring, common.mirror.percent) == (Mirroring("b"), 20)
    assert [one.mirrors for one in common.alternatives] == [True]


def test_of_alternatives_the_mirror_itself_is_not_copied() -> None:
    common = common_of(mirrored(None, rule("split", {"a": 1, "b": 1})), facts())
    assert [one.mirrors for one in common.alternatives] == [True, False]


def test_nothing_is_shared_that_differs_by_request() -> None:
    assert common_of(mirrored(pool(limit=5)), facts()) is None
    assert common_of(mirrored(pool(balancing=LoadBalancing.PREFIX_HASH)), facts()) is None


def test_what_only_the_mirror_cannot_do_tells_requests_apart() -> None:
    the_policy = mirrored(pool(features=["images"]))
    assert common_of(the_policy, facts()).features == {"tools", "jsonSchema"}
    assert common_of(the_policy, facts(features=("tools",))) is None
    assert common_of(the_policy, facts(features=("images",))) is not None


labels = st.sets(st.sampled_from(CLASSES)).map(lambda names: tuple(sorted(names)))


@given(
    allowed=st.sets(st.sampled_from(CLASSES)),
    asked=labels,
    applied=labels,
    window=st.none() | st.integers(20, 300),
    features=st.none() | st.just(["images"]),
    answers=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    percent=st.sampled_from([30, 100]),
    request_id=st.uuids().map(str),
)
def test_no_copy_breaks_a_constraint_also_if_the_decision_was_another_request_s(
    allowed: set[str],
    asked: tuple[str, ...],
    applied: tuple[str, ...],
    window: int | None,
    features: list[str] | None,
    answers: tuple[int, int],
    percent: int,
    request_id: str,
) -> None:
    """Applied as Envoy does: to requests with the same label that need no feature and have room."""
    b = pool(classes=sorted(allowed), window=window, features=features)
    the_policy = mirrored(b, percent=percent)
    first = facts(classes=asked, completion_tokens=answers[0])
    other = facts(classes=applied, completion_tokens=answers[1], request_id=request_id)
    decided = went(the_policy, other)
    assert not decided.mirror or find_obstacle(other, the_policy.pools["b"]) is None
    common = common_of(the_policy, first)
    if common is None or asked != applied:
        return
    if other.prompt_tokens + other.completion_tokens > common.most_tokens:
        return
    mirror = common.mirror
    copied = mirror is not None and (
        mirror.percent == 100 or 100 * fraction(mirror.salt, hashed(request_id.encode())) < percent
    )
    assert copied == (decided.mirror is not None)
