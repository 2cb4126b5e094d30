"""What a simulated vLLM serves besides chats, as the official client sees it."""

from __future__ import annotations

from math import isclose, sqrt

import httpx
import pytest


def test_completion(simulator):
    client = simulator.client()
    answer = client.completions.create(model="m", prompt="Once upon", max_tokens=4)
    assert len(answer.choices[0].text.split()) == 4
    assert answer.choices[0].finish_reason == "length"
    chunks = list(
        client.completions.create(
            model="m",
            prompt="Once upon",
            max_tokens=4,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert "".join(c.choices[0].text for c in chunks if c.choices) == answer.choices[0].text
    assert chunks[-1].usage == answer.usage


def test_completion_of_several_prompts_and_of_token_ids(simulator):
    client = simulator.client()
    answer = client.completions.create(model="m", prompt=["one", "two"], max_tokens=3)
    assert [choice.index for choice in answer.choices] == [0, 1]
    answer = client.completions.create(model="m", prompt=[1, 2, 3, 4, 5], max_tokens=3)
    assert answer.usage.prompt_tokens == 5


def test_embeddings(simulator):
    client = simulator.client()
    # The client asks for base64 unless told otherwise, and decodes it.
    packed = client.embeddings.create(model="m", input=["river", "stone"])
    plain = client.embeddings.create(model="m", input="river", encoding_format="float")
    vector = packed.data[0].embedding
    assert len(vector) == 256
    assert isclose(sqrt(sum(x * x for x in vector)), 1.0, abs_tol=1e-5)
    assert vector == pytest.approx(plain.data[0].embedding, abs=1e-7)
    assert vector != packed.data[1].embedding
    small = client.embeddings.create(model="m", input="river", dimensions=8)
    assert len(small.data[0].embedding) == 8


def test_models(simulator):
    (model,) = simulator.client().models.list().data
    assert model.id == "m"
    assert model.max_model_len == 131_072  # type: ignore[attr-defined]


def test_plain_endpoints(simulator):
    assert httpx.get(f"{simulator.url}/health").status_code == 200
    assert httpx.get(f"{simulator.url}/ping").status_code == 200
    assert httpx.post(f"{simulator.url}/ping").status_code == 200
    assert httpx.get(f"{simulator.url}/version").json()["version"]
    answer = httpx.post(f"{simulator.url}/tokenize", json={"model": "m", "prompt": "x" * 40})
    assert answer.json()["count"] == len(answer.json()["tokens"]) == 10
