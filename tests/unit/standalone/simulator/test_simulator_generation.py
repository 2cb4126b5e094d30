"""Texts, tool calls, embeddings and prompts, which depend on nothing but their input."""

from __future__ import annotations

from math import isclose, sqrt
from typing import Any

import pytest

from modelrouter.standalone.simulator.embedding import unit_vector
from modelrouter.standalone.simulator.errors import ApiError
from modelrouter.standalone.simulator.generation import (
    Limits,
    chosen_tool,
    fixed_answer,
    source_of,
    structured_text,
    text_answer,
)
from modelrouter.standalone.simulator.prompts import Prompt, chat_prompt, text_prompts

PROMPT = Prompt(b"hello", 2, "hello")
FUNCTIONS = [{"type": "function", "function": {"name": name}} for name in ("add_one", "look_up")]


def source(seed: int = 0, choice: int = 0, request_seed: object = None) -> bytes:
    return source_of(PROMPT, seed=seed, request_seed=request_seed, choice=choice)


def test_equal_input_gives_equal_text() -> None:
    limits = Limits(tokens=24, max_tokens=100)
    assert text_answer(source(), limits) == text_answer(source(), limits)
    sources = {source(), source(seed=1), source(choice=1), source(request_seed=1)}
    assert len({text_answer(one, limits).text for one in sources}) == 4


def test_a_longer_answer_begins_like_the_shorter() -> None:
    short = text_answer(source(), Limits(10, 100))
    long = text_answer(source(), Limits(20, 100))
    assert long.text.startswith(short.text)
    assert (short.tokens, long.tokens) == (10, 20)


@pytest.mark.parametrize(
    ("tokens", "max_tokens", "expected", "reason"),
    [(10, 100, 10, "stop"), (10, 10, 10, "stop"), (10, 4, 4, "length")],
)
def test_length(tokens: int, max_tokens: int, expected: int, reason: str) -> None:
    answer = text_answer(source(), Limits(tokens, max_tokens))
    assert len(answer.pieces) == answer.tokens == expected
    assert answer.finish_reason == reason


def test_the_first_stop_string_ends_the_text() -> None:
    answer = fixed_answer("one two three", Limits(1, 100, ("three", "wo", "")))
    assert answer.text == "one t"
    assert answer.finish_reason == "stop"
    assert answer.stop_reason == "wo"
    assert answer.tokens == 3  # The pieces "one", " tw" and "o t", which completes the match.


@pytest.mark.parametrize(
    ("ask", "name"),
    [
        ("what is the time?", None),
        ("look_up the river", "look_up"),
        ("please Look Up the river", "look_up"),
        ("call some function now", "add_one"),
        ("use the tool", "add_one"),
        ("a useful tool", None),
    ],
)
def test_a_tool_is_called_when_asked_for(ask: str, name: str | None) -> None:
    called = chosen_tool({"tools": FUNCTIONS}, Prompt(b"", 0, ask))
    assert (called and called[0]["name"]) == name


@pytest.mark.parametrize(
    "body",
    [
        {"tools": FUNCTIONS, "tool_choice": {"type": "function", "function": {"name": "other"}}},
        {"tool_choice": "required"},
    ],
)
def test_an_impossible_tool_choice_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as caught:
        chosen_tool(body, PROMPT)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, None),
        ({"response_format": {"type": "text"}}, None),
        ({"guided_choice": ["yes"]}, "yes"),
        ({"structured_outputs": {"choice": ["no"]}}, "no"),
        ({"structured_outputs": {"regex": "[0-9]{3}"}}, "000"),
        ({"guided_json": '{"const": 1}'}, "1"),
        ({"guided_json": {"const": [1, "a"]}}, '[1,"a"]'),
    ],
)
def test_structured_text(body: dict[str, Any], text: str | None) -> None:
    assert structured_text(body, source()) == text


@pytest.mark.parametrize("dimensions", [1, 8, 1024])
def test_vectors_have_length_one(dimensions: int) -> None:
    vector = unit_vector(b"river", dimensions=dimensions, seed=0)
    assert len(vector) == dimensions
    assert isclose(sqrt(sum(x * x for x in vector)), 1.0, abs_tol=1e-5)
    assert vector == unit_vector(b"river", dimensions=dimensions, seed=0)


def test_vectors_differ_by_text_and_seed() -> None:
    vectors = {
        unit_vector(text, dimensions=8, seed=seed) for text in (b"a", b"b") for seed in (0, 1)
    }
    assert len(vectors) == 4


def test_a_conversation_that_goes_on_keeps_its_prefix() -> None:
    first: list[dict[str, Any]] = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
    ]
    more = [*first, {"role": "assistant", "content": "yes?"}, {"role": "user", "content": "go"}]
    assert chat_prompt(more).data.startswith(chat_prompt(first).data)
    assert chat_prompt(more).ask == "go"
    assert chat_prompt([*more, {"role": "tool", "content": "go"}]).ask == ""


def test_four_bytes_are_a_token() -> None:
    assert [prompt.tokens for prompt in text_prompts(["", "a", "abcd", "abcde"])] == [0, 1, 1, 2]
    assert [prompt.tokens for prompt in text_prompts([[1, 2, 3], [4]])] == [3, 1]


@pytest.mark.parametrize("value", [None, [], {}, 3, [[1, "a"]], [None]])
def test_no_prompt(value: object) -> None:
    with pytest.raises(ApiError):
        text_prompts(value)


def test_audio_is_refused() -> None:
    part = {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}
    with pytest.raises(ApiError, match="audio"):
        chat_prompt([{"role": "user", "content": [part]}])
