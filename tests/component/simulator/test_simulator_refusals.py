"""Requests that a simulated vLLM refuses, each in vLLM's words."""

from __future__ import annotations

import httpx
import openai
import pytest

from component.simulator.questions import STORY

NOT_JSON = "Expecting property name enclosed in double quotes"


def test_unknown_model(simulator):
    with pytest.raises(openai.NotFoundError) as caught:
        simulator.client().chat.completions.create(model="nobody", messages=STORY)
    assert caught.value.body == {
        "message": "The model `nobody` does not exist. Valid aliases: m.",
        "type": "NotFoundError",
        "param": "model",
        "code": 404,
    }


def test_prompt_too_long(start):
    server = start("--max-model-len", "100")
    client = server.client()
    with pytest.raises(openai.BadRequestError, match="maximum context length is 100 tokens"):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x" * 500}])
    with pytest.raises(openai.BadRequestError, match="max_tokens=101 cannot be") as caught:
        client.chat.completions.create(model="m", messages=STORY, max_tokens=101)
    assert (caught.value.type, caught.value.param) == ("BadRequestError", "max_tokens")


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{", 400),
        (b"[1]", 400),
        (b"", 400),
        (b"\xff", 400),
        (b"[" * 100_000, 400),
        (b'{"model":"m"}', 400),
        (b'{"model":"m","messages":"hi"}', 400),
        (b'{"model":"m","messages":[1]}', 400),
        (b'{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":0}', 400),
        (b'{"model":"m","messages":[{"role":"user","content":"hi"}],"n":"x"}', 400),
        (b'{"messages":[{"role":"user","content":"hi"}],"stream_options":{"x":1}}', 400),
        (b'{"model":"","messages":[{"role":"user","content":"hi"}],"stream_options":{}}', 200),
        (b'{"messages":[{"role":"user","content":"hi"}],"max_tokens":"3","n":1.0}', 200),
        (b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}],"x":NaN}', 200),
        (b'{"model":"no","model":"m","messages":[{"role":"user","content":"hi"}]}', 200),
        (
            b'{"model":"m","messages":[{"role":"user","content":"hi"}],"big":' + b"9" * 40 + b"}",
            200,
        ),
    ],
)
def test_odd_bodies(simulator, content, status):
    answer = httpx.post(
        f"{simulator.url}/v1/chat/completions",
        content=content,
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == status, answer.text
    if status != 200:
        assert answer.json()["error"]["code"] == status


@pytest.mark.parametrize(
    ("content", "param", "message"),
    [
        (
            b"{",
            "body.1",
            "{'type': 'json_invalid', 'loc': 'body.1', 'msg': 'JSON decode error', "
            f"'input': '<dict of 0 items>', 'ctx': {{'error': '{NOT_JSON}'}}}}",
        ),
        (
            b"",
            "body",
            "{'type': 'missing', 'loc': 'body', 'msg': 'Field required', 'input': 'None'}",
        ),
        (
            b'{"model":"nobody"}',
            "body.messages",
            "{'type': 'missing', 'loc': 'body.messages', 'msg': 'Field required', "
            "'input': '<dict of 1 items>'}",
        ),
        (
            b'{"messages":"hi"}',
            "body.messages",
            "{'type': 'list_type', 'loc': 'body.messages', "
            "'msg': 'Input should be a valid list', 'input': 'hi'}",
        ),
        (
            b'{"messages":[],"n":"x"}',
            "body.n",
            "{'type': 'int_parsing', 'loc': 'body.n', 'msg': 'Input should be a valid integer, "
            "unable to parse string as an integer', 'input': 'x'}",
        ),
        (
            b'{"messages":[],"model":1}',
            "body.model",
            "{'type': 'string_type', 'loc': 'body.model', "
            "'msg': 'Input should be a valid string', 'input': '1'}",
        ),
    ],
)
def test_bodies_of_another_shape(simulator, content, param, message):
    """In vLLM's words, and whatever else is wrong with them."""
    answer = httpx.post(
        f"{simulator.url}/v1/chat/completions",
        content=content,
        headers={"content-type": "application/json"},
    )
    assert answer.json()["error"] == {
        "message": f"1 validation error:\n  {message}",
        "type": "Bad Request",
        "param": param,
        "code": 400,
    }


def test_unknown_path_and_method(simulator):
    answer = httpx.get(f"{simulator.url}/v1/nothing")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})
    answer = httpx.get(f"{simulator.url}/v1/chat/completions")
    assert (answer.status_code, answer.json()) == (405, {"detail": "Method Not Allowed"})
    assert answer.headers["allow"] == "POST"


def test_api_key(start):
    server = start("--api-key", "secret", "--api-key=other")
    for key in ("secret", "other"):
        assert server.client(api_key=key).models.list().data
    with pytest.raises(openai.AuthenticationError):
        server.client(api_key="wrong").models.list()
    answer = httpx.get(f"{server.url}/v1/models")
    assert answer.status_code == 401
    assert answer.json() == {"error": "Unauthorized"}
    assert httpx.get(f"{server.url}/health").status_code == 200
