"""Prompts and answers are read from what passes, whole or streamed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelrouter.router.mirroring.texts import Answer, read_answer, read_prompt

JSON, SSE = "application/json", "text/event-stream; charset=utf-8"


def plain(**message: Any) -> bytes:
    return json.dumps({"choices": [{"index": 0, "message": message}]}).encode()


def streamed(*deltas: dict[str, Any]) -> bytes:
    events = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    return (
        "".join(f"data: {json.dumps(event)}\n\n" for event in events).encode() + b"data: [DONE]\n\n"
    )


def call(name: str, arguments: str, **more: Any) -> dict[str, Any]:
    return {**more, "function": {"name": name, "arguments": arguments}}


def test_equal_prompts_have_equal_hashes_whatever_else_is_said() -> None:
    messages = [{"role": "user", "content": "Hello"}]
    one = read_prompt(json.dumps({"model": "a", "messages": messages, "seed": 1}).encode())
    other = read_prompt(json.dumps({"messages": messages, "model": "b"}).encode())
    assert one == other
    assert one.text == "Hello"
    assert one.digest != read_prompt(b'{"prompt": "Hello"}').digest


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"prompt": ["a", "b"]}, "a\n\nb"),
        ({"messages": [{"content": [{"type": "text", "text": "a"}]}, {"content": "b"}]}, "a\n\nb"),
        ({"input": [1, 2]}, ""),
    ],
)
def test_the_text_of_a_prompt(body: dict[str, Any], text: str) -> None:
    assert read_prompt(json.dumps(body).encode()).text == text


def test_a_prompt_that_was_cut_still_has_a_hash() -> None:
    assert read_prompt(b'{"messages": [{"role": "us').digest


def test_an_answer_and_its_stream_are_the_same() -> None:
    tool = call("find", '{"b": 1, "a": 2}')
    whole = read_answer(200, JSON, plain(content="Hello there", tool_calls=[tool]))
    pieces = streamed(
        {"role": "assistant", "content": "Hel"},
        {"content": "lo there"},
        {"tool_calls": [call("find", '{"b": 1,', index=0)]},
        {"tool_calls": [call("", ' "a": 2}', index=0)]},
    )
    assert whole == read_answer(200, SSE, pieces)
    assert whole == Answer("Hello there", (("find", '{"a":2,"b":1}'),))


def test_a_completion() -> None:
    body = json.dumps({"choices": [{"index": 0, "text": "Hello"}]}).encode()
    assert read_answer(200, JSON, body) == Answer("Hello")


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        (503, "text/plain", b"no healthy upstream"),
        (200, JSON, b'{"error": {"message": "no"}}'),
        (200, JSON, b"{"),
        (200, SSE, b'data: {"error": {"message": "no"}}\n\n'),
        (200, SSE, b""),
        (0, "", b""),
    ],
)
def test_what_is_no_answer(status: int, kind: str, body: bytes) -> None:
    assert read_answer(status, kind, body).failed


def test_embeddings_have_no_text() -> None:
    assert not read_answer(200, JSON, b'{"data": [{"embedding": [0.5]}]}').comparable


@pytest.mark.parametrize(
    "body", [b'{"choices": 1}', b'{"choices": [1, {"message": {"content": 5}}]}']
)
def test_odd_answers_are_empty(body: bytes) -> None:
    assert read_answer(200, JSON, body).text == ""
