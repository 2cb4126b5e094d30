"""Small builders of router configurations and requests, so that tests say only what matters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from modelrouter.api.autoscaling import OnColdStart
from modelrouter.api.pool import Feature, LoadBalancing
from modelrouter.api.route import StickyBy
from modelrouter.api.router_config import (
    Conditions,
    Ejection,
    Fallthrough,
    HeaderCondition,
    PoolConfig,
    PoolScaling,
    RetryConfig,
    RouteConfig,
    RouterConfig,
    RuleConfig,
    StickyConfig,
    WeightedPool,
)
from modelrouter.policy.compiling import Policy, compile_policy
from modelrouter.policy.deciding import decide
from modelrouter.policy.decision import Decision
from modelrouter.policy.request import Endpoint, RequestFacts, read_request
from modelrouter.policy.state import PoolState, State

CHAT = "/v1/chat/completions"


def pool(
    *,
    window: int | None = None,
    features: list[str] | None = None,
    classes: list[str] | None = None,
    limit: int | None = None,
    balancing: LoadBalancing = LoadBalancing.LEAST_REQUEST,
    cold_start: OnColdStart | None = None,
    max_waiting: int = 100,
) -> PoolConfig:
    """`cold_start`: the pool scales from zero."""
    return PoolConfig(
        model="a-model",
        addresses=["10.0.0.7:8000"],
        context_window=window,
        features=None if features is None else [Feature(name) for name in features],
        data_classes=classes or [],
        ejection=Ejection(
            consecutive_errors=5, base_ejection_time_ms=30_000, max_ejection_percent=50
        ),
        load_balancing=balancing,
        max_concurrent_requests=limit,
        scaling=None
        if cold_start is None
        else PoolScaling(from_zero=True, on_cold_start=cold_start, max_waiting=max_waiting),
    )


def rule(
    name: str,
    targets: Mapping[str, int] | str,
    *,
    failover: list[str] | None = None,
    headers: list[HeaderCondition] | None = None,
    models: list[str] | None = None,
    tokens: tuple[int | None, int | None] = (None, None),
    features: list[str] | None = None,
    classes: list[str] | None = None,
    min_healthy: int = 0,
) -> RuleConfig:
    weights = {targets: 1} if isinstance(targets, str) else targets
    return RuleConfig(
        name=name,
        conditions=Conditions(
            headers=headers or [],
            models=models or [],
            min_prompt_tokens=tokens[0],
            max_prompt_tokens=tokens[1],
            features=[Feature(feature) for feature in features or []],
            data_classes=classes or [],
        ),
        targets=[WeightedPool(pool=name, weight=weight) for name, weight in weights.items()],
        failover=failover or [],
        min_healthy_percent=min_healthy,
    )


def route(
    pools: list[str],
    *rules: RuleConfig,
    models: list[str] | None = None,
    attempts: int = 2,
    per_try_timeout_ms: int | None = None,
    sticky: StickyBy | None = None,
    header: str = "x-session-id",
) -> RouteConfig:
    return RouteConfig(
        models=models or ["assistant"],
        pools=pools,
        rules=list(rules),
        retry=RetryConfig(
            attempts_per_pool=attempts, triggers=["5xx"], per_try_timeout_ms=per_try_timeout_ms
        ),
        request_timeout_ms=600_000,
        idle_timeout_ms=60_000,
        sticky=None if sticky is None else StickyConfig(by=sticky, header=header),
        fallthrough=Fallthrough(pools=pools[:1], closed=False),
    )


def config(pools: Mapping[str, PoolConfig], **routes: RouteConfig) -> RouterConfig:
    return RouterConfig(router="default", namespace="ai", pools=dict(pools), routes=routes)


def policy(pools: Mapping[str, PoolConfig], the_route: RouteConfig) -> Policy:
    return compile_policy(config(pools, support=the_route))


LLAMA_AND_GPT = policy(
    {"llama": pool(), "gpt": pool()},
    route(["llama", "gpt"], rule("default", "llama", failover=["llama", "gpt"])),
)
"""One target, and the other pool takes over."""


def facts(
    *,
    model: str = "assistant",
    prompt_tokens: int = 10,
    completion_tokens: int = 0,
    features: tuple[str, ...] = (),
    classes: tuple[str, ...] = (),
    headers: Mapping[str, str] | None = None,
    request_id: str = "request-1",
    stream: bool = False,
    prompt: object = None,
    endpoint: Endpoint = Endpoint.CHAT,
) -> RequestFacts:
    return RequestFacts(
        request_id=request_id,
        endpoint=endpoint,
        model=model,
        stream=stream,
        features=frozenset(features),
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        data_classes=frozenset(classes),
        headers=headers or {},
        model_span=None,
        prompt=prompt,
    )


def went(
    the_policy: Policy, request: RequestFacts | None = None, state: State | None = None
) -> Decision:
    return decide(request or facts(), the_policy, state or {})


def state(**pools: PoolState) -> State:
    return {name.replace("_", "-"): known for name, known in pools.items()}


DEAD = PoolState(ready=0, endpoints=2)
COLD = PoolState(ready=0, endpoints=0, cold=True)


def read(body: object, path: str = CHAT, **headers: str) -> RequestFacts:
    """The facts of a body that is fine."""
    encoded = body if isinstance(body, bytes) else orjson.dumps(body)
    facts = read_request(path, with_dashes(headers), encoded, "request-1")
    assert isinstance(facts, RequestFacts), facts
    return facts


def chat(content: object = "Hello", **parameters: Any) -> dict[str, Any]:
    return {
        "model": "assistant",
        "messages": [{"role": "user", "content": content}],
        **parameters,
    }


def with_dashes(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
