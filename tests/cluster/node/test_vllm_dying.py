"""A server whose engine has died says 200 and then, in the first event, that it failed."""

from __future__ import annotations

import json
import urllib.request
from collections import Counter

import openai

from chaos.stage import set_faults
from cluster.control_plane.controller.waiting import eventually
from cluster.node.pools import Object, Pools, model_pool, model_route
from cluster.node.workloads import MODEL_PORT

CHAT = "/v1/chat/completions"
ERRORS = 3
ROUTERS = 2
REQUESTS = 30


def test_errors_in_first_events_cost_no_request_and_eject_a_server(pools: Pools) -> None:
    """Streamed or not, half each."""
    spec = {
        "outlierDetection": {"consecutiveErrors": ERRORS, "baseEjectionTime": "300s"},
        # This server's health is good, and would end its ejection.
        "healthCheck": {"interval": "60s"},
    }
    pools.apply(
        model_pool("big", replicas=2, spec=spec),
        model_route("chat", "big"),
    )
    ill = pools.pods("big")[0]
    assert set_faults(ill, {"mode": "stream_error"})
    client = openai.OpenAI(base_url=pools.base_url, api_key="unused", max_retries=0, timeout=20)
    for _ in range(REQUESTS):
        # A connection of its own, so that both routers are asked.
        client.close()
        client = openai.OpenAI(base_url=pools.base_url, api_key="unused", max_retries=0, timeout=20)
        _ask(client)
        _ask_for_a_stream(client)
    # Each router finds out for itself.
    received = _received(ill)
    status = pools.status("mpool", "big")["Ready"]
    print(f"\n{received} of {2 * REQUESTS} came to it; {status}")
    assert ERRORS * ROUTERS <= received < REQUESTS / 2
    eventually(lambda: "1 of 2 endpoints" in pools.status("mpool", "big")["Ready"], within=20)
    assert "requests to 1 of them failed" in pools.status("mpool", "big")["Ready"]


def _ask(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="chat", messages=[{"role": "user", "content": "Hello!"}], max_tokens=2
    )
    assert answer.choices[0].message.content


def _ask_for_a_stream(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="chat", messages=[{"role": "user", "content": "Hi!"}], max_tokens=2, stream=True
    )
    chunks = [chunk.choices[0] for chunk in stream if chunk.choices]
    assert "".join(chunk.delta.content or "" for chunk in chunks)
    assert chunks[-1].finish_reason == "length"


def _received(pod: Object) -> int:
    url = f"http://{pod['status']['podIP']}:{MODEL_PORT}/_simulate/requests"
    with urllib.request.urlopen(url, timeout=5) as answer:
        return Counter(entry["path"] for entry in json.load(answer)["requests"])[CHAT]
