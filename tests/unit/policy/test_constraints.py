"""Given what pools may see, can do and can hold, this is what is sent there, or refused and how."""

from __future__ import annotations

import pytest

from modelrouter.policy.decision import Obstacle, Rejection
from unit.policy.builders import (
    DEAD,
    LLAMA_AND_GPT,
    facts,
    policy,
    pool,
    read,
    route,
    rule,
    state,
    went,
)


def test_an_unknown_model_is_told_nothing_about_others() -> None:
    decision = went(LLAMA_AND_GPT, facts(model="gpt-9"))
    assert decision.refusal is not None
    assert decision.refusal.status == 404
    assert decision.refusal.code == "model_not_found"
    assert decision.refusal.message == (
        "The model `gpt-9` does not exist or you do not have access to it."
    )
    assert (decision.route, decision.rule, decision.chain) == ("", "", ())


def test_a_target_too_small_leaves_the_request_to_the_others() -> None:
    the_policy = policy(
        {"llama": pool(window=8192), "gpt": pool(window=128_000)},
        route(["llama", "gpt"], rule("default", {"llama": 99, "gpt": 1}, failover=["llama"])),
    )
    decision = went(the_policy, facts(prompt_tokens=8000, completion_tokens=193))
    assert decision.chain == ("gpt", "gpt")
    assert decision.reason == "rule:default; llama window"
    assert decision.rejected == (
        Rejection("llama", Obstacle.WINDOW, "needs 8193 tokens, has 8192"),
    )
    fits = went(the_policy, facts(prompt_tokens=8000, completion_tokens=192))
    assert fits.rejected == ()


def test_without_a_target_that_may_the_failover_pools_take_over_in_order() -> None:
    the_policy = policy(
        {"llama": pool(window=8192), "small": pool(window=4096), "gpt": pool(), "big": pool()},
        route(
            ["llama", "small", "gpt", "big"],
            rule("default", "llama", failover=["llama", "small", "gpt", "big"]),
        ),
    )
    decision = went(the_policy, facts(prompt_tokens=10_000))
    assert decision.pools == ("gpt", "big")
    assert decision.reason == "rule:default; failover, llama window"
    assert [rejection.pool for rejection in decision.rejected] == ["llama", "small"]


def test_a_prompt_too_large_for_every_pool() -> None:
    the_policy = policy(
        {"a": pool(window=8192), "b": pool(window=16_384), "elsewhere": pool()},
        route(["a", "b", "elsewhere"], rule("default", "a", failover=["b"])),
    )
    decision = went(the_policy, facts(prompt_tokens=20_000, completion_tokens=500))
    assert decision.refusal is not None
    assert decision.refusal.status == 400
    assert decision.refusal.code == "context_length_exceeded"
    assert decision.refusal.param == "messages"
    assert "16384 tokens" in decision.refusal.message
    assert "about 20000 tokens and 500 more" in decision.refusal.message
    assert decision.chain == decision.pools == ()
    assert decision.route == "support"
    assert [rejection.reason for rejection in decision.rejected] == [Obstacle.WINDOW] * 2


@pytest.mark.parametrize(("path", "param"), [("completions", "prompt"), ("embeddings", "input")])
def test_the_parameter_at_fault_depends_on_the_endpoint(path: str, param: str) -> None:
    the_policy = policy({"a": pool(window=10)}, route(["a"], rule("default", "a")))
    request = read({"model": "assistant", param: "x" * 400}, f"/v1/{path}")
    refusal = went(the_policy, request).refusal
    assert refusal is not None
    assert refusal.param == param
    assert f"your {param} resulted in about 100 tokens." in refusal.message


def test_a_feature_that_no_pool_has() -> None:
    the_policy = policy(
        {"a": pool(features=["tools"]), "b": pool(features=[])},
        route(["a", "b"], rule("default", "a", failover=["b"])),
    )
    decision = went(the_policy, facts(features=("images",)))
    assert decision.refusal is not None
    assert decision.refusal.status == 400
    assert decision.refusal.code == "unsupported_feature"
    assert decision.refusal.param == "messages"
    assert decision.refusal.message == "No model that may serve this request supports images."


def test_features_that_no_pool_has_together() -> None:
    the_policy = policy(
        {"a": pool(features=["tools"]), "b": pool(features=["images"])},
        route(["a", "b"], rule("default", "a", failover=["b"])),
    )
    refusal = went(the_policy, facts(features=("images", "tools"))).refusal
    assert refusal is not None
    assert "images and tools together" in refusal.message
    assert went(the_policy, facts(features=("images",))).pools == ("b",)


def test_a_pool_without_a_list_of_features_can_do_all() -> None:
    request = facts(features=("images", "tools", "jsonSchema"))
    assert went(LLAMA_AND_GPT, request).pools == ("llama", "gpt")


def test_a_labelled_request_goes_only_where_all_its_classes_may() -> None:
    the_policy = policy(
        {
            "nowhere": pool(),
            "half": pool(classes=["internal"]),
            "home": pool(classes=["confidential", "internal"]),
        },
        route(
            ["nowhere", "half", "home"],
            rule("default", {"nowhere": 5, "half": 5}, failover=["half", "home"]),
        ),
    )
    labelled = went(the_policy, facts(classes=("internal", "confidential")))
    assert labelled.pools == ("home",)
    assert labelled.rejected == (
        Rejection("nowhere", Obstacle.DATA_CLASS, "not allowed: confidential, internal"),
        Rejection("half", Obstacle.DATA_CLASS, "not allowed: confidential"),
    )
    assert went(the_policy, facts()).rejected == ()


def test_a_data_class_that_no_pool_may_see_fails_closed() -> None:
    decision = went(LLAMA_AND_GPT, facts(classes=("confidential",)))
    assert decision.refusal is not None
    assert decision.refusal.status == 403
    assert decision.refusal.code == "data_class_forbidden"
    assert "confidential" in decision.refusal.message
    assert decision.chain == ()


def test_health_never_overrides_a_data_class() -> None:
    the_policy = policy(
        {"home": pool(classes=["secret"]), "gpt": pool()},
        route(["home", "gpt"], rule("default", "home", failover=["gpt"])),
    )
    decision = went(the_policy, facts(classes=("secret",)), state(home=DEAD))
    assert set(decision.chain) == {"home"}


def test_of_several_reasons_the_one_that_would_remain_is_told() -> None:
    the_policy = policy(
        {
            "home": pool(classes=["secret"], features=["tools"], window=4096),
            "gpt": pool(features=["tools", "images"], window=128_000),
        },
        route(["home", "gpt"], rule("default", {"home": 1, "gpt": 1})),
    )

    def code(**request: object) -> str | None:
        refusal = went(the_policy, facts(**request)).refusal  # type: ignore[arg-type]
        assert refusal is not None
        return refusal.code

    assert code(classes=("other",), features=("images",)) == "data_class_forbidden"
    assert code(classes=("secret",), features=("images",)) == "unsupported_feature"
    assert code(classes=("secret",), prompt_tokens=5000) == "context_length_exceeded"
    secret = went(the_policy, facts(classes=("secret",), prompt_tokens=5000)).refusal
    assert secret is not None
    assert "4096" in secret.message
    assert "128000" not in secret.message
