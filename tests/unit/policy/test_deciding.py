"""Given these pools and rules, this is where a request goes and why."""

from __future__ import annotations

import pytest

from modelrouter.api.pool import LoadBalancing
from modelrouter.api.route import StickyBy
from modelrouter.api.router_config import HeaderCondition, RuleConfig
from modelrouter.policy.request import RequestFacts
from modelrouter.policy.state import PoolState
from unit.policy.builders import (
    DEAD,
    LLAMA_AND_GPT,
    chat,
    facts,
    policy,
    pool,
    read,
    route,
    rule,
    state,
    went,
)


def matched(special: RuleConfig, request: RequestFacts) -> bool:
    """Whether a rule that stands before the default rule gets the request."""
    assert special.name == "special"
    the_policy = policy(
        {"a": pool(classes=["public", "internal", "secret"]), "b": pool(classes=["public"])},
        route(["a", "b"], special, rule("default", "a"), models=["assistant", "coder"]),
    )
    return went(the_policy, request).rule == "special"


# Rules


def test_the_usual_case() -> None:
    decision = went(LLAMA_AND_GPT, facts(prompt_tokens=42))
    assert decision.route == "support"
    assert decision.rule == "default"
    assert decision.pools == ("llama", "gpt")
    assert decision.chain == ("llama", "llama", "gpt", "gpt")
    assert decision.reason == "rule:default"
    assert decision.rejected == ()
    assert decision.prompt_tokens == 42
    assert decision.refusal is None
    assert decision.hash_key is None


def test_the_first_rule_that_matches_decides() -> None:
    the_policy = policy(
        {"a": pool(), "b": pool(), "c": pool()},
        route(
            ["a", "b", "c"],
            rule("never", "a", tokens=(1000, None)),
            rule("first", "b", features=["tools"]),
            rule("second", "c", features=["tools"]),
            rule("default", "a"),
        ),
    )
    assert went(the_policy, facts(features=("tools",))).rule == "first"
    assert went(the_policy, facts()).rule == "default"


@pytest.mark.parametrize(
    ("condition", "value", "matches"),
    [
        ({"exact": "blue"}, "blue", True),
        ({"exact": "blue"}, "Blue", False),
        ({"exact": "blue"}, None, False),
        ({"exact": ""}, "", True),
        ({"prefix": "bl"}, "blue", True),
        ({"prefix": "bl"}, "able", False),
        ({"prefix": ""}, None, False),
        ({"regex": "b.*e"}, "blue", True),
        ({"regex": "b.*e"}, "blues", False),
        ({"regex": "lu"}, "blue", False),
        ({"regex": ".*"}, None, False),
        ({"regex": "(?i)blue|red"}, "RED", True),
    ],
)
def test_a_header_condition(condition: dict[str, str], value: str | None, matches: bool) -> None:
    special = rule("special", "b", headers=[HeaderCondition(name="X-Team", **condition)])
    headers = {} if value is None else {"x-team": value}
    assert matched(special, facts(headers=headers)) is matches


def test_all_header_conditions_must_hold() -> None:
    special = rule(
        "special",
        "b",
        headers=[
            HeaderCondition(name="x-team", exact="blue"),
            HeaderCondition(name="x-stage", exact="test"),
        ],
    )
    assert matched(special, facts(headers={"x-team": "blue", "x-stage": "test"}))
    assert not matched(special, facts(headers={"x-team": "blue"}))


def test_a_model_condition() -> None:
    special = rule("special", "b", models=["coder"])
    assert matched(special, facts(model="coder"))
    assert not matched(special, facts(model="assistant"))


@pytest.mark.parametrize(
    ("tokens", "range_", "matches"),
    [
        (99, (100, None), False),
        (100, (100, None), True),
        (100, (None, 100), True),
        (101, (None, 100), False),
        (0, (0, 0), True),
        (150, (100, 200), True),
        (201, (100, 200), False),
    ],
)
def test_a_prompt_size_condition_includes_both_ends(
    tokens: int, range_: tuple[int | None, int | None], matches: bool
) -> None:
    assert matched(rule("special", "b", tokens=range_), facts(prompt_tokens=tokens)) is matches


@pytest.mark.parametrize(
    ("needed", "matches"),
    [((), False), (("tools",), False), (("images", "tools"), True)],
)
def test_a_feature_condition_needs_all(needed: tuple[str, ...], matches: bool) -> None:
    special = rule("special", "b", features=["tools", "images"])
    assert matched(special, facts(features=needed)) is matches


@pytest.mark.parametrize(
    ("labels", "matches"),
    [((), False), (("public",), False), (("internal",), True), (("public", "secret"), True)],
)
def test_a_data_class_condition_needs_any(labels: tuple[str, ...], matches: bool) -> None:
    special = rule("special", "a", classes=["internal", "secret"])
    assert matched(special, facts(classes=labels)) is matches


def test_conditions_of_different_kinds_must_all_hold() -> None:
    special = rule("special", "b", models=["coder"], tokens=(100, None))
    assert matched(special, facts(model="coder", prompt_tokens=100))
    assert not matched(special, facts(model="coder", prompt_tokens=99))
    assert not matched(special, facts(model="assistant", prompt_tokens=100))


# The chain


def test_a_single_endpoint_gets_one_attempt_while_another_pool_follows() -> None:
    one = PoolState(ready=1, endpoints=1)
    assert went(LLAMA_AND_GPT, state=state(llama=one)).chain == ("llama", "gpt", "gpt")
    assert went(LLAMA_AND_GPT, state=state(llama=one, gpt=one)).chain == ("llama", "gpt", "gpt")
    assert went(LLAMA_AND_GPT, state=state(llama=one, gpt=DEAD)).chain == ("llama", "llama")


def test_a_long_chain_keeps_its_pools_and_gives_up_attempts() -> None:
    names = [f"p{number}" for number in range(6)]
    pools = {name: pool() for name in names}
    the_policy = policy(pools, route(names, rule("default", "p0", failover=names), attempts=5))
    chain = went(the_policy).chain
    assert len(chain) == 12
    assert set(chain) == set(names)
    many = [f"p{number}" for number in range(20)]
    the_policy = policy(
        {name: pool() for name in many}, route(many, rule("default", "p0", failover=many))
    )
    assert went(the_policy).chain == tuple(many[:16])


def test_a_reason_names_a_few_pools_only() -> None:
    names = [f"p{number}" for number in range(8)]
    targets = dict.fromkeys(names[:7], 1)
    the_policy = policy(
        {name: pool() for name in names}, route(names, rule("default", targets, failover=["p7"]))
    )
    decision = went(the_policy, state=dict.fromkeys(names[:7], DEAD))
    assert decision.reason == (
        "rule:default; failover, p0 unhealthy, p1 unhealthy, p2 unhealthy, 4 more"
    )
    assert len(decision.rejected) == 7


# Timeouts


def test_the_time_for_an_answer_is_shared_by_its_attempts() -> None:
    decision = went(LLAMA_AND_GPT)
    assert decision.request_timeout_ms == 600_000
    assert decision.per_try_timeout_ms == 150_000
    assert decision.idle_timeout_ms is None


def test_a_stream_has_no_end_but_must_begin_and_go_on() -> None:
    decision = went(LLAMA_AND_GPT, facts(stream=True))
    assert decision.request_timeout_ms is None
    assert decision.per_try_timeout_ms == 60_000
    assert decision.idle_timeout_ms == 60_000


@pytest.mark.parametrize("stream", [False, True])
def test_a_given_time_per_attempt_holds_for_all(stream: bool) -> None:
    the_policy = policy(
        {"a": pool()}, route(["a"], rule("default", "a"), per_try_timeout_ms=30_000)
    )
    assert went(the_policy, facts(stream=stream)).per_try_timeout_ms == 30_000


# Staying together


def spread(by: StickyBy | None, *requests: RequestFacts) -> set[str]:
    the_policy = policy(
        {"a": pool(), "b": pool()},
        route(["a", "b"], rule("default", {"a": 1, "b": 1}), sticky=by, header="x-chat"),
    )
    return {went(the_policy, request).pools[0] for request in requests}


def test_requests_of_a_session_stay_together() -> None:
    session = [facts(request_id=str(n), headers={"x-chat": "s1"}) for n in range(50)]
    assert len(spread(StickyBy.SESSION, *session)) == 1
    assert len(spread(None, *session)) == 2


def test_sessions_and_requests_without_one_are_spread() -> None:
    assert (
        len(spread(StickyBy.SESSION, *[facts(headers={"x-chat": str(n)}) for n in range(50)])) > 1
    )
    assert len(spread(StickyBy.SESSION, *[facts(request_id=str(n)) for n in range(50)])) > 1


def test_prompts_that_begin_alike_stay_together() -> None:
    alike = [read(chat("Hello"))._replace(request_id=str(n)) for n in range(50)]
    assert len(spread(StickyBy.PREFIX, *alike)) == 1
    assert len(spread(StickyBy.PREFIX, *[read(chat(f"Hello {n}")) for n in range(50)])) == 2


def test_the_hash_key_is_what_a_pool_places_requests_by() -> None:
    def key(balancing: LoadBalancing, request: RequestFacts) -> str | None:
        the_policy = policy(
            {"plain": pool(), "hashing": pool(balancing=balancing)},
            route(["plain", "hashing"], rule("default", "plain", failover=["hashing"])),
        )
        return went(the_policy, request).hash_key

    hello = read(chat("Hello"), x_session_id="käse\n")
    assert key(LoadBalancing.LEAST_REQUEST, hello) is None
    assert key(LoadBalancing.PREFIX_HASH, hello) == hello.prefix_key
    session = key(LoadBalancing.SESSION_HASH, hello)
    assert session is not None
    assert session == key(LoadBalancing.SESSION_HASH, hello._replace(request_id="2"))
    assert int(session, 16) >= 0
    alone = hello._replace(headers={})
    assert key(LoadBalancing.SESSION_HASH, alone) != session
