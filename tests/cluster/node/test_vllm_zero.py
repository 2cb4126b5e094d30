"""A pool without servers: many requests at once start one, a hundred wait for it and are answered.

Those beyond the bound are told so at once.
"""

from __future__ import annotations

import asyncio
import time

import openai

from cluster.control_plane.controller.waiting import eventually
from cluster.node.pools import Pools, model_pool, model_route, ready_at

REQUESTS = 150
ROUTER_PODS = 2
BOUND = 50
"""In each router pod."""
LOAD_SECONDS = 3
DELAY_SECONDS = 10.0
LATE_SECONDS = 5.0
"""From the moment when the server is ready to the first answer: under 2 s on a machine that does
nothing else; and timestamps in Kubernetes are whole seconds."""


async def test_from_zero_and_back(pools: Pools) -> None:
    autoscaling = {
        "minReplicas": 0,
        "maxReplicas": 1,
        "target": {"runningRequests": 100},
        "scaleDownDelay": f"{DELAY_SECONDS:.0f}s",
        "maxWaiting": BOUND,
    }
    pools.apply(
        model_pool(
            "small",
            environment={"LOAD_SECONDS": LOAD_SECONDS},
            autoscaling=autoscaling,
        ),
        model_route("chat", "small"),
    )
    assert not pools.pods("small", leaving=True)
    assert pools.status("mpool", "small")["Ready"].startswith("ScaledToZero")

    began = time.time()
    async with openai.AsyncOpenAI(
        base_url=pools.base_url, api_key="unused", max_retries=0, timeout=100
    ) as client:
        answers = await asyncio.gather(
            *(_ask(client, number) for number in range(REQUESTS)), return_exceptions=True
        )
    last = time.time()
    ended = [answer for answer in answers if isinstance(answer, float)]
    refused = [answer for answer in answers if isinstance(answer, openai.InternalServerError)]
    assert (len(ended), len(refused)) == (BOUND * ROUTER_PODS, REQUESTS - BOUND * ROUTER_PODS)
    for error in refused:
        assert (error.status_code, error.code) == (503, "cold_start_full")
        assert int(error.response.headers["retry-after"]) > 0
    (pod,) = pools.pods("small")
    ready = ready_at(pod)
    print(
        f"\nready {ready - began:.0f} s after the first request, first answer "
        f"{min(ended) - began:.2f} s, last {max(ended) - began:.2f} s"
    )
    assert min(ended) - ready < LATE_SECONDS

    eventually(lambda: not pools.pods("small", leaving=True), within=90)
    assert time.time() - last > DELAY_SECONDS
    assert pools.status("mpool", "small")["Ready"].startswith("ScaledToZero")


async def _ask(client: openai.AsyncOpenAI, number: int) -> float:
    """When the first token, or the whole answer, was there."""
    content = f"Question number {number}"
    message: openai.types.chat.ChatCompletionUserMessageParam = {"role": "user", "content": content}
    if number % 2:
        answer = await client.chat.completions.create(model="chat", messages=[message])
        assert answer.choices[0].message.content
        return time.time()
    first, reason = 0.0, None
    async for chunk in await client.chat.completions.create(
        model="chat", messages=[message], stream=True
    ):
        for choice in chunk.choices:
            if choice.delta.content:
                first = first or time.time()
            reason = choice.finish_reason or reason
    assert reason == "stop", f"a stream that ends with {reason}"
    return first
