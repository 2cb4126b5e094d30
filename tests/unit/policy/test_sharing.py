"""Given a decision, which other requests does it hold for as well?"""

from __future__ import annotations

import pytest

from modelrouter.api.autoscaling import OnColdStart
from modelrouter.api.pool import LoadBalancing
from modelrouter.api.route import StickyBy
from modelrouter.api.router_config import HeaderCondition
from modelrouter.policy.compiling import UNLIMITED, Policy
from modelrouter.policy.request import RequestFacts
from modelrouter.policy.sharing import Shared, shared
from modelrouter.policy.state import PoolState, State
from unit.policy.builders import COLD, DEAD, facts, policy, pool, route, rule, state, went

SPLIT = rule("split", {"a": 90, "b": 10}, failover=["a", "b"])
TWO = {"a": pool(), "b": pool()}


def shares(
    the_policy: Policy, request: RequestFacts | None = None, known: State | None = None
) -> Shared | None:
    request = request or facts()
    decision = went(the_policy, request, known)
    return shared(request, decision, the_policy, known or {})


def test_what_is_shared_is_the_choice_not_its_outcome() -> None:
    common = shares(policy(TWO, route(["a", "b"], SPLIT)))
    assert common is not None
    assert [(one.decision.chain, one.weight) for one in common.alternatives] == [
        (("a", "a", "b", "b"), 90),
        (("b", "b", "a", "a"), 10),
    ]
    assert len({one.salt for one in common.alternatives}) == 2


def test_each_alternative_is_what_would_be_decided() -> None:
    the_policy = policy(TWO, route(["a", "b"], SPLIT))
    known = {"a": PoolState(ready=1, endpoints=1), "b": PoolState(ready=2, endpoints=2)}
    common = shares(the_policy, known=known)
    assert common is not None
    by_first = {one.decision.chain[0]: one.decision for one in common.alternatives}
    for number in range(100):
        decision = went(the_policy, facts(request_id=f"r{number}"), known)
        assert decision == by_first[decision.chain[0]]


def test_headers_of_any_rule_tell_requests_apart() -> None:
    looks = rule("x", "a", headers=[HeaderCondition(name="X-Team", prefix="q")])
    common = shares(policy(TWO, route(["a", "b"], looks, SPLIT)))
    assert common is not None
    assert common.vary == ("x-data-class", "x-team")


@pytest.mark.parametrize(("sticky", "header"), [(None, ""), (StickyBy.SESSION, "x-conversation")])
def test_requests_are_placed_by_the_key_of_the_route(sticky: StickyBy | None, header: str) -> None:
    common = shares(policy(TWO, route(["a", "b"], SPLIT, sticky=sticky, header="x-conversation")))
    assert common is not None
    assert common.key_header == header


def test_so_many_tokens_change_neither_rule_nor_pools() -> None:
    windows = {"a": pool(window=8000), "b": pool(window=9000)}
    assert limit(policy(TWO, route(["a", "b"], SPLIT))) == UNLIMITED
    assert limit(policy(windows, route(["a", "b"], SPLIT))) == 8000
    longer = rule("long", "b", tokens=(5000, None))
    assert limit(policy(windows, route(["a", "b"], longer, SPLIT))) == 4999
    short = rule("short", "b", tokens=(None, 300))
    assert limit(policy(windows, route(["a", "b"], short, SPLIT))) == 300


def limit(the_policy: Policy) -> int:
    common = shares(the_policy)
    assert common is not None
    return common.most_tokens


@pytest.mark.parametrize(
    ("pools", "rules", "matter"),
    [
        (TWO, [SPLIT], set()),
        ({"a": pool(features=["tools"]), "b": pool()}, [SPLIT], {"jsonSchema", "images"}),
        (
            {"a": pool(features=["tools", "images"]), "b": pool(features=["tools", "jsonSchema"])},
            [SPLIT],
            {"jsonSchema", "images"},
        ),
        (TWO, [rule("pictures", "b", features=["images"]), SPLIT], {"images"}),
    ],
)
def test_features_matter_that_a_rule_names_or_a_pool_has_not(pools, rules, matter) -> None:
    the_policy = policy(pools, route(["a", "b"], *rules))
    common = shares(the_policy)
    assert common is not None
    assert common.features == matter
    for feature in ("tools", "jsonSchema", "images"):
        same = shares(the_policy, facts(features=(feature,)))
        assert same == (None if feature in matter else common)


@pytest.mark.parametrize(
    ("the_policy", "request_", "known"),
    [
        pytest.param(policy({"a": pool(features=[]), "b": pool()}, route(["a", "b"], SPLIT)),
                     facts(features=("tools",)), {}, id="needs a feature"),
        pytest.param(policy(TWO, route(["a", "b"], SPLIT)), facts(), state(a=DEAD),
                     id="a pool is down"),
        pytest.param(policy({"a": pool(), "b": pool(cold_start=OnColdStart.FAILOVER)},
                            route(["a", "b"], SPLIT)), facts(), state(b=COLD),
                     id="a pool is at zero"),
        pytest.param(policy({"a": pool(cold_start=OnColdStart.WAIT), "b": pool()},
                            route(["a", "b"], rule("r", "a", failover=["b"]))), facts(),
                     state(a=COLD), id="the request waits"),
        pytest.param(policy({"a": pool(limit=5), "b": pool()}, route(["a", "b"], SPLIT)), facts(),
                     {}, id="requests are counted"),
        pytest.param(policy(TWO, route(["a", "b"], SPLIT, sticky=StickyBy.PREFIX)), facts(), {},
                     id="placed by the prompt"),
        pytest.param(
            policy({"a": pool(balancing=LoadBalancing.PREFIX_HASH), "b": pool()},
                   route(["a", "b"], SPLIT)), facts(), {}, id="endpoint chosen by the prompt"),
        pytest.param(policy({"a": pool(window=100), "b": pool()}, route(["a", "b"], SPLIT)),
                     facts(prompt_tokens=200), {}, id="beyond a window"),
        pytest.param(policy(TWO, route(["a", "b"], SPLIT)), facts(model="unknown"), {},
                     id="refused"),
    ],
)  # fmt: skip
def test_what_depends_on_more_is_not_shared(
    the_policy: Policy, request_: RequestFacts, known: State
) -> None:
    assert shares(the_policy, request_, known) is None
