"""A server whose engine dies says 200 and then, in the first event, that it failed."""

from __future__ import annotations

import openai

from chaos.stage import set_faults
from cluster.control_plane.controller.waiting import eventually
from cluster.node.pools import Pools, model_pool, model_route

ERRORS = 3
ROUTERS = 2


def test_errors_in_first_events_eject_a_server(pools: Pools) -> None:
    outlier = {"consecutiveErrors": ERRORS, "baseEjectionTime": "300s"}
    pools.apply(
        model_pool("big", replicas=2, spec={"outlierDetection": outlier}),
        model_route("chat", "big"),
    )
    ill = pools.pods("big")[0]
    assert set_faults(ill, {"mode": "stream_error"})

    failed = [number for number in range(200) if not _streams(pools)]
    # Each router pod finds out for itself, and an error or two may be under way meanwhile.
    assert ERRORS <= len(failed) <= 2 * ERRORS * ROUTERS, failed
    assert max(failed) < 100, "it still gets requests"
    eventually(lambda: "ejected" in pools.status("mpool", "big")["Ready"], within=20)
    print(f"\n{len(failed)} of 200 failed; {pools.status('mpool', 'big')['Ready']}")


def test_an_engine_that_fails_before_its_answer_costs_no_request(pools: Pools) -> None:
    """What is not streamed fails with 500, and is sent elsewhere."""
    pools.apply(model_pool("big", replicas=2), model_route("chat", "big"))
    assert set_faults(pools.pods("big")[0], {"mode": "stream_error"})
    client = _client(pools)
    for _ in range(30):
        answer = client.chat.completions.create(
            model="chat", messages=[{"role": "user", "content": "Hello!"}], max_tokens=2
        )
        assert answer.choices[0].message.content


def _streams(pools: Pools) -> bool:
    try:
        chunks = list(
            _client(pools).chat.completions.create(
                model="chat",
                messages=[{"role": "user", "content": "Hello!"}],
                max_tokens=2,
                stream=True,
            )
        )
    except openai.APIStatusError:
        raise
    except openai.APIError:
        return False
    return chunks[-1].choices[0].finish_reason is not None


def _client(pools: Pools) -> openai.OpenAI:
    return openai.OpenAI(base_url=pools.base_url, api_key="unused", max_retries=0, timeout=20)
