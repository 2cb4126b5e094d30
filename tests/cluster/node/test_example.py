"""From an empty node: `helm install`, `kubectl apply`, and applications get answers."""

from __future__ import annotations

import pytest
from openai import OpenAI

from cluster.kubernetes.images import operator_image_name
from cluster.node.installation import MODEL, Routed

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
QWEN = "Qwen/Qwen2.5-32B-Instruct"
PROVIDER = "gpt-large"
# As an application without the official client: it asks, as a stream, and prints the pieces.
_APPLICATION = """
import json, sys, urllib.request
body = {"model": sys.argv[2], "stream": True, "messages": [{"role": "user", "content": "Hello!"}]}
request = urllib.request.Request(sys.argv[1] + "/chat/completions", json.dumps(body).encode(),
                                 {"content-type": "application/json"})
with urllib.request.urlopen(request, timeout=20) as answer:
    events = [line for line in answer if line.startswith(b"data: ")]
print(len(events), events[-1].decode().strip())
"""


@pytest.fixture
def client(example: Routed) -> OpenAI:
    """The official client, as an application has it."""
    return OpenAI(base_url=example.base_url, api_key="unused", max_retries=0)


def test_an_answer_comes_from_one_of_the_rules_pools(client: OpenAI) -> None:
    seen = set()
    for number in range(60):
        answer = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": f"Question {number}"}]
        )
        assert answer.choices[0].message.content
        seen.add(answer.model)
    # With weights of 90 and 10, sixty requests miss the provider once in 500 runs.
    assert LLAMA in seen
    assert seen <= {LLAMA, PROVIDER}


def test_a_stream_comes_in_pieces(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Tell me"}], stream=True
    )
    pieces = [chunk.choices[0] for chunk in stream if chunk.choices]
    assert len([piece for piece in pieces if piece.delta.content]) > 3
    assert pieces[-1].finish_reason == "length" or pieces[-1].finish_reason == "stop"


def test_what_is_confidential_stays_with_its_pool(client: OpenAI) -> None:
    answer = client.chat.completions.with_raw_response.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Secret plans"}],
        extra_headers={"x-data-class": "confidential"},
    )
    assert answer.headers["x-mr-pool"] == "qwen-32b"
    assert answer.parse().model == QWEN


def test_a_provider_gets_the_key_of_its_secret(client: OpenAI) -> None:
    """Its server asks for one; pictures and the like do not matter here, only that it answers."""
    for number in range(200):
        answer = client.chat.completions.with_raw_response.create(
            model=MODEL, messages=[{"role": "user", "content": f"Ask {number}"}], max_tokens=1
        )
        if answer.headers["x-mr-pool"] == "gpt":
            assert answer.headers["x-mr-attempts"] == "1"
            return
    pytest.fail("of 200 requests with a weight of 10 %, none went to the provider")


def test_an_application_in_the_cluster_uses_the_url_of_the_status(example: Routed) -> None:
    route = example.workloads.get("mroute", MODEL)
    url = route["status"]["url"]
    assert url == f"http://model-router-default.{example.workloads.namespace}.svc:8080/v1"
    example.workloads.kubectl("delete", "pod", "application", "--ignore-not-found")
    printed = example.workloads.run(
        "application",
        operator_image_name(),
        command=["python3", "-c", _APPLICATION],
        args=[url, MODEL],
    )
    count, last = printed.split(maxsplit=1)
    assert int(count) > 4
    assert last.strip() == "data: [DONE]"


def test_the_table_tells_what_is_served_and_by_what(example: Routed) -> None:
    routes = example.workloads.kubectl("get", "mroute").splitlines()
    assert routes[0].split() == ["NAME", "MODELS", "ROUTER", "CANARY", "READY", "AGE"]
    pools = {line.split()[0]: line.split() for line in
             example.workloads.kubectl("get", "mpool", "--no-headers").splitlines()}  # fmt: skip
    assert pools["llama-8b"][1:5] == [LLAMA, "service", "2/2", "True"]
    assert pools["gpt"][1:5] == [PROVIDER, "provider", "1/1", "True"]
