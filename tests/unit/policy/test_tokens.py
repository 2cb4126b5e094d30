"""Given a prompt, about so many tokens are expected."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrouter.policy.tokens import (
    SAMPLED_ABOVE,
    TOKENS_PER_IMAGE,
    TOKENS_PER_MESSAGE,
    input_tokens,
    text_tokens,
)
from unit.policy.builders import chat, read


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("a", 1),
        ("four", 1),
        ("x" * 4000, 1000),
        ("東京は日本の首都です", 10),
        ("Привет, мир!!", 7),
        ("🙂🙂🙂🙂", 6),
    ],
)
def test_text_by_script(text: str, tokens: int) -> None:
    assert text_tokens(text) == tokens


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_text_costs_a_quarter_to_one_and_a_half_tokens_per_character(text: str) -> None:
    assert len(text) / 4 <= text_tokens(text) <= len(text) * 1.5 + 1


def test_long_mixed_text_is_sampled_to_within_a_few_percent() -> None:
    sentence = "Der größte Teil ist ASCII, 日本語 nur wenig. "
    text = sentence * 500
    assert len(text) > SAMPLED_ABOVE
    exact = (3 * len(text.encode()) - len(text)) / 8
    assert text_tokens(text) == pytest.approx(exact, rel=0.03)


def test_messages_cost_a_little_each() -> None:
    one = {"role": "user", "content": "x" * 400}
    facts = read({"model": "m", "messages": [one] * 3})
    assert facts.prompt_tokens == 3 * (100 + TOKENS_PER_MESSAGE)


def test_an_image_costs_a_flat_number_whatever_its_length() -> None:
    def tokens(url: str) -> int:
        return read(chat([{"type": "image_url", "image_url": {"url": url}}])).prompt_tokens

    assert tokens("https://example.com/cat.png") == TOKENS_PER_IMAGE + TOKENS_PER_MESSAGE
    assert tokens("data:image/png;base64," + "A" * 1_000_000) == tokens("https://a/b.png")


def test_tools_and_tool_calls_count_by_their_json() -> None:
    plain = read(chat()).prompt_tokens
    tool = {"type": "function", "function": {"name": "f", "description": "x" * 4000}}
    assert 1000 < read(chat(tools=[tool])).prompt_tokens - plain < 1050
    call = {"id": "1", "function": {"name": "f", "arguments": "x" * 4000}}
    called = {"role": "assistant", "content": None, "tool_calls": [call]}
    assert 1000 < read({"model": "m", "messages": [called]}).prompt_tokens < 1050


@pytest.mark.parametrize(
    ("value", "tokens"),
    [
        ("x" * 400, 100),
        (["x" * 400, "x" * 800, "x"], 200),
        (list(range(50)), 50),
        ([[1, 2, 3], list(range(70)), []], 70),
        ([], 0),
        (None, 0),
        ({"text": "x"}, 0),
        (["x" * 400, None, 7], 100),
    ],
)
def test_the_largest_of_several_inputs_counts(value: object, tokens: int) -> None:
    assert input_tokens(value) == tokens
    assert read({"model": "m", "input": value}, "/v1/embeddings").prompt_tokens == tokens
    assert read({"model": "m", "prompt": value}, "/v1/completions").prompt_tokens == tokens
