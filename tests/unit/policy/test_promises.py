"""What holds for every configuration and every request: properties, checked by hypothesis."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelrouter.api.autoscaling import OnColdStart
from modelrouter.api.route import StickyBy
from modelrouter.api.router_config import HeaderCondition, RouteConfig, RouterConfig, RuleConfig
from modelrouter.policy.compiling import Policy, compile_policy
from modelrouter.policy.deciding import LONGEST_CHAIN, decide
from modelrouter.policy.decision import Obstacle
from modelrouter.policy.request import RequestFacts
from modelrouter.policy.state import PoolState, State
from unit.policy.builders import config, facts, policy, pool, route, rule, went

NAMES = ["p0", "p1", "p2", "p3", "p4"]
FEATURES = ["tools", "jsonSchema", "images"]
CLASSES = ["public", "internal", "secret"]

some_features = st.lists(st.sampled_from(FEATURES), unique=True, max_size=3)
some_classes = st.lists(st.sampled_from(CLASSES), unique=True, max_size=3)
pools = st.builds(
    pool,
    window=st.none() | st.integers(1, 200),
    features=st.none() | some_features,
    classes=some_classes,
    limit=st.none() | st.integers(1, 4),
    cold_start=st.none() | st.sampled_from(OnColdStart),
    max_waiting=st.integers(1, 3),
)


percents = st.sampled_from([0, 0, 50, 100])


@st.composite
def rules(draw: st.DrawFn, allowed: list[str], name: str, *, last: bool) -> RuleConfig:
    targets = draw(st.lists(st.sampled_from(allowed), min_size=1, max_size=3, unique=True))
    weights = {target: draw(st.integers(0, 100)) for target in targets}
    weights[targets[0]] += 1
    failover = draw(st.lists(st.sampled_from(allowed), unique=True))
    if last:
        return rule(name, weights, failover=failover, min_healthy=draw(percents))
    return rule(
        name,
        weights,
        failover=failover,
        min_healthy=draw(percents),
        headers=draw(st.sampled_from([[], [HeaderCondition(name="x-team", prefix="b")]])),
        tokens=draw(st.sampled_from([(None, None), (50, None), (None, 50)])),
        features=draw(some_features),
        classes=draw(some_classes),
    )


@st.composite
def routes(draw: st.DrawFn) -> RouteConfig:
    allowed = draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    count = draw(st.integers(0, 3))
    return route(
        allowed,
        *[draw(rules(allowed, f"r{number}", last=False)) for number in range(count)],
        draw(rules(allowed, "default", last=True)),
        attempts=draw(st.integers(1, 5)),
        sticky=draw(st.none() | st.sampled_from(StickyBy)),
    )


configs = st.builds(
    lambda drawn, the_route: config(drawn, support=the_route),
    st.fixed_dictionaries(dict.fromkeys(NAMES, pools)),
    routes(),
)
requests = st.builds(
    facts,
    prompt_tokens=st.integers(0, 250),
    completion_tokens=st.integers(0, 50),
    features=some_features.map(tuple),
    classes=some_classes.map(tuple),
    headers=st.dictionaries(st.sampled_from(["x-team", "x-session-id"]), st.text(max_size=3)),
    request_id=st.text(min_size=1),
    stream=st.booleans(),
)
states = st.dictionaries(
    st.sampled_from(NAMES),
    st.builds(
        PoolState,
        ready=st.none() | st.integers(0, 2),
        endpoints=st.none() | st.integers(0, 2),
        absent=st.integers(0, 2),
        in_flight=st.integers(0, 12),
    )
    | st.builds(
        PoolState,
        ready=st.just(0),
        endpoints=st.integers(0, 1),
        cold=st.just(True),
        waiting=st.integers(0, 4),
    ),
)


def may_serve(request: RequestFacts, known: RouterConfig, name: str) -> bool:
    """The constraints once more, in the plainest words."""
    the_pool = known.pools[name]
    window = the_pool.context_window
    features = the_pool.features
    return (
        (window is None or request.prompt_tokens + request.completion_tokens <= window)
        and (features is None or request.features <= {str(feature) for feature in features})
        and all(label in the_pool.data_classes for label in request.data_classes)
    )


@settings(max_examples=400, deadline=None)
@given(configs, requests, states)
def test_no_pool_that_may_not_ever_gets_a_request(
    known: RouterConfig, request: RequestFacts, state: State
) -> None:
    decision = decide(request, compile_policy(known), state)
    the_route = known.routes["support"]
    the_rule = next(each for each in the_route.rules if each.name == decision.rule)
    of_rule = {target.pool for target in the_rule.targets if target.weight}
    of_rule |= set(the_rule.failover)
    able = {name for name in of_rule if may_serve(request, known, name)}

    assert set(decision.chain) <= set(the_route.pools)
    assert set(decision.chain) <= able
    assert set(decision.pools) <= able
    if decision.refusal is None:
        assert 1 <= len(decision.chain) <= LONGEST_CHAIN
        assert tuple(dict.fromkeys(decision.chain)) == decision.pools
        passed_over = {each.pool for each in decision.rejected}
        may_be_back = (Obstacle.UNHEALTHY, Obstacle.COLD)
        resting = {each.pool for each in decision.rejected if each.reason in may_be_back}
        assert of_rule == set(decision.pools) | passed_over | (of_rule - set(the_rule.failover))
        assert set(decision.pools) & passed_over <= resting
        assert decision.per_try_timeout_ms is not None
    else:
        assert decision.chain == ()
        assert (decision.refusal.status == 503) is bool(able)
    assert decision.reason.isascii()
    assert decision.reason.isprintable()


@settings(max_examples=200, deadline=None)
@given(configs, requests, states)
def test_a_decision_is_always_the_same(
    known: RouterConfig, request: RequestFacts, state: State
) -> None:
    once = decide(request, compile_policy(known), state)
    again = RouterConfig.model_validate(known.model_dump())
    assert decide(request, compile_policy(again), dict(state)) == once


@settings(max_examples=250, deadline=None)
@given(configs, requests, states)
def test_a_pool_that_is_up_and_free_goes_before_one_that_is_not(
    known: RouterConfig, request: RequestFacts, state: State
) -> None:
    decision = decide(request, compile_policy(known), state)
    if decision.refusal is not None:
        return

    def is_free(name: str) -> bool:
        status = state.get(name, PoolState())
        limit = known.pools[name].max_concurrent_requests
        endpoints = status.endpoints if status.ready is None else status.ready
        return status.ready != 0 and (
            limit is None or status.in_flight < limit * max(endpoints or 1, 1)
        )

    # A pool that the request waits for is none of the ready ones.
    pools = decision.pools[1:] if decision.waits else decision.pools
    free = [name for name in pools if is_free(name)]
    assert not free or free == list(pools)


@settings(max_examples=400, deadline=None)
@given(configs, requests, states)
def test_who_waits_for_a_pool_at_zero(
    known: RouterConfig, request: RequestFacts, state: State
) -> None:
    the_policy = compile_policy(known)
    decision = decide(request, the_policy, state)

    def is_cold(name: str) -> bool:
        scaling = known.pools[name].scaling
        return name in state and state[name].cold and scaling is not None and scaling.from_zero

    warm = {
        name: PoolState(ready=1, endpoints=1) if is_cold(name) else each
        for name, each in state.items()
    }
    as_if_warm = decide(request, the_policy, warm)
    chosen = next(iter(as_if_warm.pools), "")
    # Exactly the pools that would serve the request if they were up are woken for it.
    assert decision.wakes == (chosen if chosen and is_cold(chosen) else "")
    if decision.refusal is not None or not decision.wakes:
        assert not decision.waits
        return
    scaling = known.pools[decision.wakes].scaling
    assert scaling is not None
    assert not decision.waits or decision.pools[0] == decision.wakes
    if state[decision.wakes].waiting >= scaling.max_waiting:
        assert not decision.waits
    ready = [name for name in decision.pools if not is_cold(name) and name != decision.wakes]
    if scaling.on_cold_start is OnColdStart.FAILOVER and ready:
        assert not decision.waits
    # Nobody waits for one pool and is then sent to another that is at zero.
    assert not any(is_cold(name) for name in decision.pools if name != decision.wakes)


def shared(**weights: int) -> Policy:
    """A policy with one rule whose targets share by these weights."""
    known = {name: pool() for name in weights}
    return policy(known, route(list(weights), rule("default", weights, failover=list(weights))))


def placed(the_policy: Policy, keys: int, state: State | None = None) -> list[str]:
    """The pool of each of so many requests."""
    return [went(the_policy, facts(request_id=f"id-{n}"), state).pools[0] for n in range(keys)]


@pytest.mark.parametrize(
    "weights",
    [
        {"a": 90, "b": 10},
        {"a": 1, "b": 1, "c": 1},
        {"a": 1, "b": 0, "c": 3},
        {"a": 1_000_000, "b": 1},
    ],
)
def test_shares_come_out_as_the_weights_say(weights: dict[str, int]) -> None:
    keys = 20_000
    counts = Counter(placed(shared(**weights), keys))
    total = sum(weights.values())
    for name, weight in weights.items():
        assert abs(counts[name] / keys - weight / total) < 0.01
    assert all(counts[name] == 0 for name, weight in weights.items() if weight == 0)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcde"), st.integers(1, 1000), min_size=2),
    st.integers(1, 1000),
    st.data(),
)
def test_a_larger_weight_moves_keys_to_its_pool_and_no_others(
    weights: dict[str, int], more: int, data: st.DataObject
) -> None:
    grown = data.draw(st.sampled_from(sorted(weights)))
    before = placed(shared(**weights), 100)
    after = placed(shared(**{**weights, grown: weights[grown] + more}), 100)
    for old, new in zip(before, after, strict=True):
        assert new in (old, grown)


def test_a_weight_change_moves_no_more_keys_than_it_must() -> None:
    keys = 20_000
    before = placed(shared(a=90, b=10), keys)
    after = placed(shared(a=75, b=25), keys)
    moved = sum(old != new for old, new in zip(before, after, strict=True))
    assert moved / keys == pytest.approx(0.15, abs=0.01)


def test_a_pool_that_drops_out_moves_only_its_own_keys_and_gets_them_back() -> None:
    the_policy = shared(a=3, b=2, c=1)
    before = placed(the_policy, 2000)
    without_b = placed(the_policy, 2000, {"b": PoolState(ready=0)})
    assert "b" not in without_b
    for old, new in zip(before, without_b, strict=True):
        assert new == old or old == "b"
    assert placed(the_policy, 2000, {"b": PoolState(ready=1)}) == before


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1), st.lists(st.text(min_size=1), min_size=2, max_size=5))
def test_a_session_stays_whatever_the_requests_are(session: str, ids: list[str]) -> None:
    weights = {"a": 1, "b": 1, "c": 1}
    known = {name: pool() for name in weights}
    the_policy = policy(
        known, route(list(weights), rule("default", weights), sticky=StickyBy.SESSION)
    )
    chosen = {
        went(the_policy, facts(request_id=each, headers={"x-session-id": session})).pools
        for each in ids
    }
    assert len(chosen) == 1


def test_a_session_stays_in_its_pool_across_rules() -> None:
    both = {"a": 1, "b": 1}
    the_policy = policy(
        {name: pool() for name in both},
        route(
            ["a", "b"],
            rule("long", both, tokens=(100, None)),
            rule("default", both),
            sticky=StickyBy.SESSION,
        ),
    )
    for number in range(50):
        headers = {"x-session-id": f"s{number}"}
        short = went(the_policy, facts(headers=headers))
        long = went(the_policy, facts(headers=headers, prompt_tokens=200))
        assert short.pools == long.pools
