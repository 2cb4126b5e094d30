"""Given a body, this is what the policy knows of it, or what the client is told."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelrouter.policy.refusal import Refusal
from modelrouter.policy.request import Endpoint, RequestFacts, read_request
from unit.policy.builders import CHAT, chat, read


def refused(body: object, path: str = CHAT) -> Refusal:
    encoded = body if isinstance(body, bytes) else orjson.dumps(body)
    refusal = read_request(path, {}, encoded, "request-1")
    assert isinstance(refusal, Refusal), refusal
    return refusal


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b"", "invalid_json", "empty"),
        (b'{"model": ', "invalid_json", "not valid JSON"),
        (b'{"model": "m",}', "invalid_json", "trailing comma"),
        (b'{"model": "m", "top_p": NaN}', "invalid_json", "not valid JSON"),
        (b'{"model": "m", "stop": "\\ud800"}', "invalid_json", "surrogate"),
        (b'{"model": "caf\xe9"}', "invalid_utf8", "byte 14"),
        (b'["model"]', "invalid_body", "an array"),
        (b'"model"', "invalid_body", "a string"),
        (b"null", "invalid_body", "null"),
        (b"{}", "missing_model", "missing"),
        (b'{"model": ""}', "invalid_model", "empty"),
        (b'{"model": 7}', "invalid_model", "a number"),
        (b'{"model": null}', "invalid_model", "null"),
        (b'{"model": true}', "invalid_model", "a boolean"),
        (b'{"model": ["m"]}', "invalid_model", "an array"),
        (b'{"model": {"m": 1}}', "invalid_model", "an object"),
        (b'{"model": "m", "x": ' + b"[" * 1025 + b"]" * 1025 + b"}", "nested_too_deeply", "1024"),
        (b"[" * 100_000, "nested_too_deeply", "1024"),
        (b'{"a":' * 100_000, "nested_too_deeply", "1024"),
    ],
)
def test_a_body_that_no_backend_could_take(body: bytes, code: str, words: str) -> None:
    refusal = refused(body)
    assert (refusal.status, refusal.type, refusal.code) == (400, "invalid_request_error", code)
    assert words in refusal.message
    assert refusal.param == ("model" if "model" in code else None)


def test_a_refusal_is_shaped_as_openai_shapes_errors() -> None:
    assert json.loads(refused({}).body()) == {
        "error": {
            "message": "You must provide a model: the parameter `model` is missing.",
            "type": "invalid_request_error",
            "param": "model",
            "code": "missing_model",
        }
    }


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (chat([{"type": "input_audio", "input_audio": {"data": "UklGRg=="}}]), "messages"),
        (chat([{"type": "audio"}]), "messages"),
        (chat(modalities=["text", "audio"]), "modalities"),
        (chat(audio={"voice": "alloy", "format": "wav"}), "audio"),
        (
            {
                "model": "m",
                "messages": [{"role": "assistant", "content": None, "audio": {"id": "a"}}],
            },
            "messages",
        ),
    ],
)
def test_audio_is_refused_wherever_it_stands(body: object, param: str) -> None:
    refusal = refused(body)
    assert (refusal.status, refusal.code, refusal.param) == (400, "audio_not_supported", param)
    assert "text and images" in refusal.message


def test_no_audio_is_not_audio() -> None:
    assert read(chat(audio=None, modalities=["text"])).features == frozenset()


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/v1/chat/completions", Endpoint.CHAT),
        ("/v1/chat/completions?trace=1", Endpoint.CHAT),
        ("/v1/completions", Endpoint.COMPLETIONS),
        ("/v1/embeddings", Endpoint.EMBEDDINGS),
    ],
)
def test_the_path_names_the_endpoint(path: str, endpoint: Endpoint) -> None:
    assert read({"model": "m"}, path).endpoint is endpoint


def test_an_unknown_path_is_told_the_known_ones() -> None:
    refusal = refused(chat(), "/v1/audio/speech")
    assert (refusal.status, refusal.code) == (404, "unknown_url")
    assert "/v1/embeddings" in refusal.message


def test_the_last_of_duplicate_keys_counts() -> None:
    facts = read(b'{"model": "first", "stream": true, "model": "last", "stream": false}')
    assert (facts.model, facts.stream) == ("last", False)


@pytest.mark.parametrize(
    ("stream", "expected"), [(True, True), (False, False), ("true", False), (1, False)]
)
def test_only_true_streams(stream: object, expected: bool) -> None:
    assert read(chat(stream=stream)).stream is expected


SCHEMA = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {}}}
TOOL = {"type": "function", "function": {"name": "search", "parameters": {}}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}


@pytest.mark.parametrize(
    ("body", "features"),
    [
        (chat(), set()),
        (chat(tools=[TOOL]), {"tools"}),
        (chat(functions=[TOOL["function"]]), {"tools"}),
        (chat(tools=[], functions=None), set()),
        (chat(tools=[], functions=[TOOL]), {"tools"}),
        (chat(response_format=SCHEMA), {"jsonSchema"}),
        (chat(response_format={"type": "json_object"}), set()),
        (chat(response_format={"type": "text"}), set()),
        (chat(response_format="json_schema"), set()),
        (chat([{"type": "text", "text": "What is this?"}, IMAGE]), {"images"}),
        (chat([{"type": "input_image", "image_url": "https://example.com/a.png"}]), {"images"}),
        (chat([IMAGE], tools=[TOOL], response_format=SCHEMA), {"tools", "jsonSchema", "images"}),
    ],
)
def test_the_features_a_request_needs(body: object, features: set[str]) -> None:
    assert read(body).features == features


@pytest.mark.parametrize(
    ("parameters", "tokens"),
    [
        ({}, 0),
        ({"max_tokens": 500}, 500),
        ({"max_completion_tokens": 700}, 700),
        ({"max_tokens": 500, "max_completion_tokens": 700}, 700),
        ({"max_tokens": 500, "max_completion_tokens": None}, 500),
        ({"max_tokens": "500"}, 0),
        ({"max_tokens": 5.5}, 0),
        ({"max_tokens": True}, 0),
        ({"max_tokens": -1}, 0),
    ],
)
def test_the_completion_tokens_asked_for(parameters: dict[str, Any], tokens: int) -> None:
    assert read(chat(**parameters)).completion_tokens == tokens


@pytest.mark.parametrize(
    ("label", "classes"),
    [
        ("confidential", {"confidential"}),
        (" Confidential ,INTERNAL,, ", {"confidential", "internal"}),
        (" , ", set()),
        ("", set()),
    ],
)
def test_the_data_classes_of_a_request(label: str, classes: set[str]) -> None:
    assert read(chat(), x_data_class=label).data_classes == classes


def turns(*texts: str, system: str = "You help.") -> dict[str, Any]:
    roles = ["user", "assistant"] * len(texts)
    messages = [{"role": "system", "content": system}]
    messages += [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]
    return {"model": "assistant", "messages": messages}


def test_the_turns_of_a_conversation_share_a_prefix_key() -> None:
    first = read(turns("Hello")).prefix_key
    assert first == read(turns("Hello", "Hi!", "My card is lost.")).prefix_key
    assert first != read(turns("My card is lost.")).prefix_key
    assert first != read(turns("Hello", system="You translate.")).prefix_key


def test_prompts_with_the_same_long_instructions_share_a_prefix_key() -> None:
    manual = "Answer from this manual. " * 100
    assert read(turns("A", system=manual)).prefix_key == read(turns("B", system=manual)).prefix_key


def test_text_parts_make_the_same_prefix_key_as_the_text() -> None:
    parts = [{"type": "text", "text": "Hel"}, IMAGE, {"type": "text", "text": "lo"}]
    assert read(chat(parts)).prefix_key == read(chat("Hello")).prefix_key


@pytest.mark.parametrize("prompt", ["Once", ["Once", "upon"], [1, 2, 3], [[1, 2], [3]], None, []])
def test_completions_have_a_prefix_key_too(prompt: object) -> None:
    key = read({"model": "m", "prompt": prompt}, "/v1/completions").prefix_key
    assert len(key) == 16
    assert key == read({"model": "m", "prompt": prompt, "n": 2}, "/v1/completions").prefix_key


ODD: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**63), max_value=2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from(["text", "image_url", "system", "user", "json_schema"]),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["type", "text", "role", "content", "model", "tool_calls", "audio", "a"]
            ),
            children,
            max_size=4,
        )
    ),
    max_leaves=12,
)
PARAMETERS = [
    "messages",
    "prompt",
    "input",
    "tools",
    "functions",
    "response_format",
    "stream",
    "max_tokens",
    "modalities",
    "audio",
    "metadata",
]
PATHS = st.sampled_from(["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/", ""])


@settings(max_examples=250, deadline=None)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(PARAMETERS, ODD)), PATHS)
def test_no_odd_type_of_a_parameter_is_an_error(parameters: dict[str, Any], path: str) -> None:
    body = orjson.dumps({**parameters, "model": "m"})
    facts = read_request(path, {}, body, "request-1")
    if isinstance(facts, RequestFacts):
        assert facts.prompt_tokens >= 0
        assert len(facts.prefix_key) == 16
    else:
        assert facts.code in ("audio_not_supported", "unknown_url")


@settings(max_examples=250, deadline=None)
@given(st.binary() | ODD.map(orjson.dumps), PATHS, st.text())
def test_no_bytes_whatever_are_an_exception(body: bytes, path: str, label: str) -> None:
    result = read_request(path, {"x-data-class": label}, body, "request-1")
    if isinstance(result, Refusal):
        assert result.status in (400, 404)
        assert json.loads(result.body())["error"]["message"]


def test_tools_nested_deeper_than_anyone_nests_are_passed_on() -> None:
    body = b'{"model":"m","messages":[],"tools":[' + b"[" * 600 + b"]" * 600 + b"]}"
    assert read(body).features == {"tools"}
