"""An application that uses the official OpenAI client needs nothing but another base URL."""

from __future__ import annotations

import json

import httpx
import openai
import pytest

from component.router.client.conftest import Serve, Servers
from component.router.rig import Router, pool, provider, route, secret

HELLO = [{"role": "user", "content": "Hello!"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


@pytest.fixture(scope="module")
def router(serve: Serve, servers: Servers) -> Router:
    """The virtual model `assistant` is `acme/first`, which wants a key and newer parameters."""
    return serve(
        secret("first-key", "sk-first"),
        provider(
            "first",
            servers.first,
            secret="first-key",
            parameters={
                "drop": ["temperature"],
                "rename": {"max_tokens": "max_completion_tokens"},
            },
        ),
        pool("second", servers.second),
        route("support", models=["assistant", "team/helper"], pools=["first"]),
        route("search", models=["embedder"], pools=["second"]),
    )


async def test_chat(client: openai.AsyncOpenAI, servers: Servers) -> None:
    """The server sees its own model name, key and parameters; the client, who answered."""
    answer = await client.chat.completions.create(
        model="assistant", messages=HELLO, max_tokens=5, temperature=0.3, top_p=0.9
    )

    assert answer.model == "acme/first"
    assert answer.choices[0].message.content
    assert answer.usage
    assert answer.usage.completion_tokens == 5
    (request,) = await servers.first.received()
    assert request.path == "/v1/chat/completions"
    assert request.header("authorization") == "Bearer sk-first"
    assert request.json == {
        "model": "acme/first",
        "messages": HELLO,
        "max_completion_tokens": 5,
        "top_p": 0.9,
    }


async def test_streamed_chat(client: openai.AsyncOpenAI) -> None:
    """Pieces, then the reason for the end, then the usage that was asked for."""
    stream = await client.chat.completions.create(
        model="assistant", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    assert {chunk.model for chunk in chunks} == {"acme/first"}
    texts = [c.choices[0].delta.content for c in chunks if c.choices]
    assert len([text for text in texts if text]) == 24
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens == 24


async def test_tools(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model="assistant",
        messages=[{"role": "user", "content": "Use get_weather for Paris"}],
        tools=[WEATHER],
    )
    assert answer.choices[0].finish_reason == "tool_calls"
    (call,) = answer.choices[0].message.tool_calls or ()
    assert call.type == "function"
    assert call.function.name == "get_weather"
    assert isinstance(json.loads(call.function.arguments)["city"], str)

    # The conversation goes on with what the tool has said.
    answer = await client.chat.completions.create(
        model="assistant",
        messages=[
            *HELLO,
            {"role": "assistant", "tool_calls": [call.model_dump()]},
            {"role": "tool", "tool_call_id": call.id, "content": "14 degrees"},
        ],
    )
    assert answer.choices[0].message.content


async def test_streamed_tool_call(client: openai.AsyncOpenAI) -> None:
    async with client.chat.completions.stream(
        model="assistant",
        messages=[{"role": "user", "content": "Use get_weather for Paris"}],
        tools=[WEATHER],
    ) as stream:
        final = await stream.get_final_completion()
    (call,) = final.choices[0].message.tool_calls or ()
    assert "city" in json.loads(call.function.arguments)


async def test_json_schema(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model="assistant",
        messages=HELLO,
        response_format={
            "type": "json_schema",
            "json_schema": {
                "name": "person",
                "schema": {
                    "type": "object",
                    "properties": {"age": {"type": "integer"}},
                    "required": ["age"],
                },
            },
        },
    )
    assert isinstance(json.loads(answer.choices[0].message.content or "")["age"], int)


async def test_images_as_content_parts(client: openai.AsyncOpenAI, servers: Servers) -> None:
    messages = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {
                    "type": "image_url",
                    "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"},
                },
            ],
        }
    ]
    answer = await client.chat.completions.create(model="assistant", messages=messages)
    assert answer.choices[0].message.content
    (request,) = await servers.first.received()
    assert request.json["messages"] == messages


async def test_completions(client: openai.AsyncOpenAI) -> None:
    answer = await client.completions.create(model="assistant", prompt="Once", max_tokens=4)
    assert answer.model == "acme/first"
    assert answer.choices[0].text

    stream = await client.completions.create(model="assistant", prompt="Once", stream=True)
    assert len([chunk async for chunk in stream]) > 16  # Tokens, when none are asked for.


@pytest.mark.parametrize("encoding", ["float", "base64"])
async def test_embeddings(client: openai.AsyncOpenAI, encoding: str) -> None:
    answer = await client.embeddings.create(
        model="embedder",
        input=["one", "two"],
        encoding_format=encoding,  # type: ignore[arg-type]
    )
    assert answer.model == "acme/second"
    assert [item.index for item in answer.data] == [0, 1]


async def test_models_are_the_virtual_ones(client: openai.AsyncOpenAI) -> None:
    """Never the names that pools know."""
    listed = [model.id async for model in client.models.list()]
    assert sorted(listed) == ["assistant", "embedder", "team/helper"]
    for name in listed:
        model = await client.models.retrieve(name)
        assert (model.id, model.object) == (name, "model")

    for unknown in ("acme/first", "gpt-4o", "assistant/x"):
        with pytest.raises(openai.NotFoundError) as raised:
            await client.models.retrieve(unknown)
        assert raised.value.code == "model_not_found"


async def test_headers_tell_what_happened(client: openai.AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(model="assistant", messages=HELLO)
    headers = raw.headers
    assert headers["x-mr-route"] == "support"
    assert headers["x-mr-pool"] == "first"
    assert headers["x-mr-reason"] == "rule:pools"
    assert headers["x-mr-attempts"] == "1"
    assert headers["x-request-id"]
    assert not [name for name in headers if name.startswith("x-envoy")]


async def test_headers_come_with_streams(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.with_raw_response.create(
        model="assistant", messages=HELLO, stream=True
    )
    assert stream.headers["x-mr-pool"] == "first"
    assert stream.headers["content-type"].startswith("text/event-stream")
    async for _ in stream.parse():
        pass


@pytest.mark.parametrize(
    ("model", "status"), [("assistant", 200), ("unknown", 404)], ids=["answered", "refused"]
)
async def test_a_clients_own_request_id_is_kept(
    client: openai.AsyncOpenAI, servers: Servers, model: str, status: int
) -> None:
    """In the answer, and on the way to the server."""
    try:
        raw = await client.chat.completions.with_raw_response.create(
            model=model, messages=HELLO, extra_headers={"x-request-id": "trace-me 17"}
        )
        response: httpx.Response = raw.http_response
    except openai.APIStatusError as error:
        response = error.response
    assert response.status_code == status
    assert response.headers["x-request-id"] == "trace-me 17"
    for request in await servers.first.received():
        assert request.header("x-request-id") == "trace-me 17"


async def test_each_request_gets_an_id_of_its_own(http: httpx.AsyncClient) -> None:
    """Also an answer that the router gives by itself."""
    answers = [
        await http.post("/v1/chat/completions", json={"model": "assistant", "messages": HELLO}),
        await http.post("/v1/chat/completions", content=b"nonsense"),
        await http.get("/v1/models"),
        await http.get("/nowhere"),
    ]
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == len(answers)


async def test_a_query_reaches_the_server(http: httpx.AsyncClient, servers: Servers) -> None:
    answer = await http.post(
        "/v1/chat/completions?api-version=1&x=%20",
        json={"model": "assistant", "messages": HELLO},
    )
    assert answer.status_code == 200
    (request,) = await servers.first.received()
    assert request.path == "/v1/chat/completions?api-version=1&x=%20"
    assert request.json["model"] == "acme/first"
