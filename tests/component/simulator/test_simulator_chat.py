"""Chats with a simulated vLLM, whole and streamed, as the official client sees them."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from component.simulator.questions import STORY


def test_chat(simulator):
    answer = simulator.client().chat.completions.create(model="m", messages=STORY)
    choice = answer.choices[0]
    assert answer.model == "m"
    assert answer.id.startswith("chatcmpl-")
    assert answer.system_fingerprint == "one"
    assert choice.message.role == "assistant"
    assert len(choice.message.content.split()) == 24
    assert choice.finish_reason == "stop"
    assert answer.usage.completion_tokens == 24
    assert answer.usage.prompt_tokens > 5
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 24


def test_streamed_chat_says_the_same(simulator):
    client = simulator.client()
    whole = client.chat.completions.create(model="m", messages=STORY)
    chunks = list(
        client.chat.completions.create(
            model="m", messages=STORY, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    texts = [c.choices[0].delta.content or "" for c in chunks if c.choices]
    assert "".join(texts) == whole.choices[0].message.content
    assert len([text for text in texts if text]) == 24
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert len({c.id for c in chunks}) == 1


def test_stream_on_the_wire(simulator):
    body = {"model": "m", "messages": STORY, "stream": True, "max_tokens": 2}
    answer = httpx.post(f"{simulator.url}/v1/chat/completions", json=body)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    parsed = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    assert [event["choices"][0]["finish_reason"] for event in parsed] == [
        None,
        None,
        None,
        "length",
    ]
    assert parsed[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert not any("usage" in event for event in parsed)


def test_equal_requests_get_equal_answers_from_equal_seeds(simulator, start):
    def ask(server: Any, **more: Any) -> str:
        answer = server.client().chat.completions.create(model="m", messages=STORY, **more)
        return answer.choices[0].message.content

    quick = ("--first-token", "0", "--per-token", "0")
    twin = start(*quick)
    other = start(*quick, "--seed", "1")
    assert ask(simulator) == ask(simulator) == ask(twin) != ask(other)
    assert ask(simulator, seed=7) == ask(twin, seed=7) != ask(simulator)


def test_several_choices(simulator):
    client = simulator.client()
    answer = client.chat.completions.create(model="m", messages=STORY, n=3)
    texts = [choice.message.content for choice in answer.choices]
    assert len(set(texts)) == 3
    assert answer.usage.completion_tokens == 72
    streamed = ["", "", ""]
    for chunk in client.chat.completions.create(model="m", messages=STORY, n=3, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert streamed == texts


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_token_limit(simulator, limit):
    answer = simulator.client().chat.completions.create(model="m", messages=STORY, **{limit: 5})
    assert answer.usage.completion_tokens == 5
    assert answer.choices[0].finish_reason == "length"


def test_long_answers_on_request(simulator):
    answer = simulator.client().chat.completions.create(
        model="m", messages=STORY, max_tokens=500, extra_body={"ignore_eos": True}
    )
    assert answer.usage.completion_tokens == 500


def test_a_window_cuts_an_answer_that_may_be_longer(start):
    answer = (
        start("--max-model-len", "100", "--per-token=0")
        .client()
        .chat.completions.create(
            model="m", messages=STORY, max_tokens=100, extra_body={"ignore_eos": True}
        )
    )
    assert answer.usage.total_tokens == 100
    assert answer.choices[0].finish_reason == "length"


@pytest.mark.parametrize("stream", [False, True])
def test_stop(simulator, stream):
    client = simulator.client()
    whole = client.chat.completions.create(model="m", messages=STORY).choices[0].message.content
    stop = whole.split()[5]
    expected = whole[: whole.index(stop)]
    if stream:
        chunks = client.chat.completions.create(model="m", messages=STORY, stop=[stop], stream=True)
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    else:
        answer = client.chat.completions.create(model="m", messages=STORY, stop=stop)
        assert answer.choices[0].finish_reason == "stop"
        text = answer.choices[0].message.content
    assert text == expected


def test_images_are_content_parts(simulator):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10_000}}
    messages: Any = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}]
    answer = simulator.client().chat.completions.create(model="m", messages=messages)
    assert 256 <= answer.usage.prompt_tokens < 300
