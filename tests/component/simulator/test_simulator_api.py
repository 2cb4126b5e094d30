"""What the official client sees of a simulated vLLM."""

from __future__ import annotations

import json
from math import isclose, sqrt
from typing import Any

import httpx
import openai
import pytest

HELLO: Any = [{"role": "user", "content": "Tell me a story about a river."}]
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                },
                "required": ["city", "unit"],
            },
        },
    }
]


def test_chat(simulator):
    answer = simulator.client().chat.completions.create(model="m", messages=HELLO)
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
    whole = client.chat.completions.create(model="m", messages=HELLO)
    chunks = list(
        client.chat.completions.create(
            model="m", messages=HELLO, stream=True, stream_options={"include_usage": True}
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
    body = {"model": "m", "messages": HELLO, "stream": True, "max_tokens": 2}
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
        answer = server.client().chat.completions.create(model="m", messages=HELLO, **more)
        return answer.choices[0].message.content

    quick = ("--first-token", "0", "--per-token", "0")
    twin = start(*quick)
    other = start(*quick, "--seed", "1")
    assert ask(simulator) == ask(simulator) == ask(twin) != ask(other)
    assert ask(simulator, seed=7) == ask(twin, seed=7) != ask(simulator)


def test_several_choices(simulator):
    client = simulator.client()
    answer = client.chat.completions.create(model="m", messages=HELLO, n=3)
    texts = [choice.message.content for choice in answer.choices]
    assert len(set(texts)) == 3
    assert answer.usage.completion_tokens == 72
    streamed = ["", "", ""]
    for chunk in client.chat.completions.create(model="m", messages=HELLO, n=3, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert streamed == texts


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_token_limit(simulator, limit):
    answer = simulator.client().chat.completions.create(model="m", messages=HELLO, **{limit: 5})
    assert answer.usage.completion_tokens == 5
    assert answer.choices[0].finish_reason == "length"


def test_long_answers_on_request(simulator):
    answer = simulator.client().chat.completions.create(
        model="m", messages=HELLO, max_tokens=500, extra_body={"ignore_eos": True}
    )
    assert answer.usage.completion_tokens == 500


@pytest.mark.parametrize("stream", [False, True])
def test_stop(simulator, stream):
    client = simulator.client()
    whole = client.chat.completions.create(model="m", messages=HELLO).choices[0].message.content
    stop = whole.split()[5]
    expected = whole[: whole.index(stop)]
    if stream:
        chunks = client.chat.completions.create(model="m", messages=HELLO, stop=[stop], stream=True)
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    else:
        answer = client.chat.completions.create(model="m", messages=HELLO, stop=stop)
        assert answer.choices[0].finish_reason == "stop"
        text = answer.choices[0].message.content
    assert text == expected


@pytest.mark.parametrize(
    ("choice", "question", "reason"),
    [
        ("required", "hello", "tool_calls"),
        ("auto", "use get_weather for Oslo", "tool_calls"),
        ("auto", "please call a tool", "tool_calls"),
        ({"type": "function", "function": {"name": "get_weather"}}, "hello", "stop"),
    ],
)
def test_tool_call(simulator, choice, question, reason):
    client = simulator.client()
    messages: Any = [{"role": "user", "content": question}]
    answer = client.chat.completions.create(
        model="m", messages=messages, tools=TOOLS, tool_choice=choice
    )
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments)["unit"] == "celsius"
    assert answer.choices[0].finish_reason == reason
    chunks = list(
        client.chat.completions.create(
            model="m", messages=messages, tools=TOOLS, tool_choice=choice, stream=True
        )
    )
    parts = [c for k in chunks for c in (k.choices[0].delta.tool_calls or [])]
    assert parts[0].id == call.id
    assert parts[0].function.name == "get_weather"
    assert "".join(p.function.arguments or "" for p in parts) == call.function.arguments
    assert chunks[-1].choices[0].finish_reason == reason


@pytest.mark.parametrize(
    ("choice", "messages"),
    [
        ("auto", HELLO),
        ("none", [{"role": "user", "content": "use get_weather"}]),
        (
            "auto",
            [
                {"role": "user", "content": "use get_weather"},
                {"role": "tool", "content": "12 degrees", "tool_call_id": "x"},
            ],
        ),
    ],
)
def test_text_although_there_are_tools(simulator, choice, messages):
    answer = simulator.client().chat.completions.create(
        model="m", messages=messages, tools=TOOLS, tool_choice=choice
    )
    message = answer.choices[0].message
    assert message.content
    assert "tool_calls" not in message.model_fields_set


def test_json_schema(simulator):
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 12},
            "age": {"type": "integer", "minimum": 18},
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2},
        },
        "required": ["name", "age", "tags"],
    }
    answer = simulator.client().chat.completions.create(
        model="m",
        messages=HELLO,
        response_format={"type": "json_schema", "json_schema": {"name": "p", "schema": schema}},
    )
    value = json.loads(answer.choices[0].message.content)
    assert len(value["name"]) >= 12
    assert value["age"] >= 18
    assert value["tags"] == ["a", "a"]


def test_json_object(simulator):
    answer = simulator.client().chat.completions.create(
        model="m", messages=HELLO, response_format={"type": "json_object"}
    )
    assert isinstance(json.loads(answer.choices[0].message.content), dict)


def test_images_are_content_parts(simulator):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10_000}}
    messages: Any = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}]
    answer = simulator.client().chat.completions.create(model="m", messages=messages)
    assert 256 <= answer.usage.prompt_tokens < 300


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


def test_unknown_model(simulator):
    with pytest.raises(openai.NotFoundError) as caught:
        simulator.client().chat.completions.create(model="nobody", messages=HELLO)
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
        client.chat.completions.create(model="m", messages=HELLO, max_tokens=101)
    assert (caught.value.type, caught.value.param) == ("BadRequestError", "max_tokens")


def test_a_window_cuts_an_answer_that_may_be_longer(start):
    answer = (
        start("--max-model-len", "100", "--per-token=0")
        .client()
        .chat.completions.create(
            model="m", messages=HELLO, max_tokens=100, extra_body={"ignore_eos": True}
        )
    )
    assert answer.usage.total_tokens == 100
    assert answer.choices[0].finish_reason == "length"


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


NOT_JSON = "Expecting property name enclosed in double quotes"


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


def test_lora_adapters_come_and_go(start):
    server = start(
        "--enable-lora", "--lora-modules", "a=/a", VLLM_ALLOW_RUNTIME_LORA_UPDATING="True"
    )
    client = server.client()
    assert client.chat.completions.create(model="a", messages=HELLO).model == "a"
    adapter = {"lora_name": "b", "lora_path": "/b"}
    answer = httpx.post(f"{server.url}/v1/load_lora_adapter", json=adapter)
    assert answer.text == "Success: LoRA adapter 'b' added successfully."
    assert [model.id for model in client.models.list()] == ["m", "a", "b"]
    assert httpx.post(f"{server.url}/v1/load_lora_adapter", json=adapter).status_code == 400
    httpx.post(f"{server.url}/v1/unload_lora_adapter", json={"lora_name": "b"}).raise_for_status()
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="b", messages=HELLO)
