"""Given a body, this is where its model stands: surely there, or nobody knows."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelrouter.policy.locating import locate_model

LONG = "A sentence of a long prompt. " * 2000
QUOTING = 'He said "model" and "my model", then\n' * 2000


def messages(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m"},
        {"model": "m", "messages": messages("Hi")},
        {"messages": messages("Hi"), "model": "m"},
        {"messages": messages("Hi"), "model": "m", "stop": ["}"], "stream": True},
        {"model": "m", "messages": messages('say "model": "x"')},
        {"model": "m", "messages": messages(LONG)},
        {"messages": messages(LONG), "model": "m", "stream": True},
        {"model": "m", "messages": messages(QUOTING)},
        {"model": "m", "messages": messages("x" * 1000), "metadata": {"model": "n"}, "n": LONG},
        {"temperature": 1, "model": "m", "messages": messages(LONG)},
    ],
)
@pytest.mark.parametrize("spaced", [False, True])
def test_usual_bodies(body: dict[str, Any], spaced: bool) -> None:
    encoded = json.dumps(body, indent=1).encode() if spaced else orjson.dumps(body)
    span = locate_model(encoded)
    assert span is not None
    assert encoded[slice(*span)] == b'"m"'
    assert replaced(encoded, span) == {**body, "model": "served"}


@pytest.mark.parametrize(
    ("body", "rest"),
    [
        (b'{"model":"a","model":"b"}', b'{"model":"a","model":'),
        (b'{"a":[%b],"model":"a","model":"b"}', b',"model":"a","model":'),
    ],
)
def test_the_last_of_duplicate_keys_is_located(body: bytes, rest: bytes) -> None:
    body = body.replace(b"%b", orjson.dumps(LONG))
    span = locate_model(body)
    assert span is not None
    assert body[: span[0]].endswith(rest)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","x":{},"model":"a","y":{}}',
        b'{"model":"a","x":%b,"model":"a","y":{}}',
        b'{"model":"a","x":%b,"mod\\u0065l":"a","y":{}}',
        b'{"\\u006d\\u006f\\u0064\\u0065\\u006c":"a","metadata":{"model":"a"},"x":%b}',
        b'{"model":"a","x":[],"mod\\u0065l":"a"}',
        b'{"metadata":{"model":"a"},"mod\\u0065l":"a"}',
        b'{"mod\\u0065l":"a"}',
        b'{"type":"model","mod\\u0065l":"a"}',
    ],
)
@pytest.mark.parametrize("text", [LONG, QUOTING])
def test_what_is_hard_to_tell_is_left_alone(body: bytes, text: str) -> None:
    body = body.replace(b"%b", orjson.dumps({"x": text, "y": [text]}))
    assert locate_model(body) is None


def replaced(body: bytes, span: tuple[int, int]) -> Any:
    return orjson.loads(body[: span[0]] + b'"served"' + body[span[1] :])


NAMES = st.sampled_from(
    [b'"model"', b'"mod\\u0065l"', b'"metadata"', b'"a\\"model"', b'"\\\\"', b'"model\\u0020"']
)
SPACE = st.sampled_from([b"", b" ", b"\n\t"])
LEAVES = st.sampled_from(
    [
        b'"model"',
        b'"x"',
        b'"m\\"odel"',
        b'"\\u006dodel"',
        b"1",
        b'"}"',
        b'"{\\"model\\":\\"y\\"}"',
        orjson.dumps(LONG[:9000]),
        orjson.dumps(QUOTING[:9000]),
    ]
)


@st.composite
def json_objects(draw: st.DrawFn, depth: int = 2) -> bytes:
    members = []
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from("olv" if depth else "v"))
        if kind == "v":
            value = draw(LEAVES)
        else:
            value = draw(json_objects(depth - 1))
            if kind == "l":
                value = b"[" + value + b"]"
        members.append(
            draw(SPACE) + draw(NAMES) + draw(SPACE) + b":" + draw(SPACE) + value + draw(SPACE)
        )
    return b"{" + b",".join(members) + b"}"


@settings(max_examples=500, deadline=None)
@given(json_objects())
def test_a_located_model_is_the_one_that_counts(body: bytes) -> None:
    data = orjson.loads(body)
    if not isinstance(data.get("model"), str):
        return
    span = locate_model(body)
    if span is not None:
        assert orjson.loads(body[slice(*span)]) == data["model"]
        assert replaced(body, span) == {**data, "model": "served"}
