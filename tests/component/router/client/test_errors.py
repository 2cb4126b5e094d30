"""Every error is JSON as OpenAI shapes it, with the status that its clients know."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx
import openai
import pytest

from component.router.client.answers import CHAT, HELLO, JSON, NEVER_EJECTED, error_of
from component.router.client.conftest import Serve, Servers
from component.router.rig import Rig, Router, eventually, pool, provider, route

MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def router(serve: Serve, servers: Servers) -> Router:
    """`chat` can do all; `small` little; `gone` has nobody to answer."""
    little = {"features": ["tools"], "contextWindow": 100, "dataClasses": ["public"]}
    return serve(
        pool("first", servers.first, outlierDetection=NEVER_EJECTED),
        pool("small", servers.second, **little),
        pool("smaller", servers.third, **{**little, "contextWindow": 50}),
        pool("gone", "127.0.0.1:1", model="gone"),
        route("chat", pools=["first"]),
        route("small", pools=["smaller", "small"]),
        route("gone", pools=["gone"]),
    )


NESTED = b"[" * 100_000
BODIES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "invalid_json"),
    "no JSON": (b"hello", "invalid_json"),
    "cut off": (b'{"model":"chat"', "invalid_json"),
    "trailing comma": (b'{"model":"chat",}', "invalid_json"),
    "something behind": (b'{"model":"chat"}{}', "invalid_json"),
    "NaN": (b'{"model":"chat","x":NaN}', "invalid_json"),
    "number beyond a double": (b'{"model":"chat","x":1e400}', "invalid_json"),
    "integer beyond a double": (b'{"model":"chat","x":' + b"9" * 400 + b"}", "invalid_json"),
    "half a surrogate pair": (rb'{"model":"chat","x":"\ud83d"}', "invalid_json"),
    "control character": (b'{"model":"chat","x":"\n"}', "invalid_json"),
    "null bytes": (b"\0\0\0\0", "invalid_json"),
    "invalid UTF-8": (b'{"model":"chat","x":"\xff\xfe"}', "invalid_utf8"),
    "UTF-8 surrogate": (b'{"model":"chat","x":"\xed\xa0\x80"}', "invalid_utf8"),
    "UTF-16": ('{"model":"chat"}'.encode("utf-16"), "invalid_utf8"),
    "an array": (b'[{"model":"chat"}]', "invalid_body"),
    "a string": (b'"chat"', "invalid_body"),
    "null": (b"null", "invalid_body"),
    "a number": (b"17", "invalid_body"),
    "no model": (b'{"messages":[]}', "missing_model"),
    "model only in metadata": (b'{"metadata":{"model":"chat"}}', "missing_model"),
    "empty model": (b'{"model":""}', "invalid_model"),
    "null model": (b'{"model":null}', "invalid_model"),
    "number for a model": (b'{"model":1}', "invalid_model"),
    "object for a model": (b'{"model":{"name":"chat"}}', "invalid_model"),
    "last of two models is null": (b'{"model":"chat","model":null}', "invalid_model"),
    "absurd nesting": (b'{"model":"chat","x":' + NESTED + b"}", "nested_too_deeply"),
    "absurd nesting, closed": (
        b'{"model":"chat","x":' + NESTED + b"]" * 100_000 + b"}",
        "nested_too_deeply",
    ),
    "absurd nesting of objects": (b'{"a":' * 100_000, "nested_too_deeply"),
}


@pytest.mark.parametrize("name", BODIES)
async def test_bodies_that_cannot_be_read(
    http: httpx.AsyncClient, servers: Servers, name: str
) -> None:
    """400, with a code that tells them apart. No server hears of it."""
    body, code = BODIES[name]
    for path in (CHAT, "/v1/completions", "/v1/embeddings"):
        error = error_of(await http.post(path, content=body, headers=JSON), 400, code)
        assert error["type"] == "invalid_request_error"
        assert error["param"] == ("model" if code.endswith("_model") else None)
    assert [await server.count() for server in servers] == [0, 0, 0]


async def test_the_official_client_raises_what_it_would_raise(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        await client.chat.completions.create(model="nobody", messages=HELLO)
    assert missing.value.code == "model_not_found"
    assert missing.value.param == "model"
    with pytest.raises(openai.BadRequestError) as bad:
        await client.chat.completions.create(model="", messages=HELLO)
    assert bad.value.code == "invalid_model"
    with pytest.raises(openai.NotFoundError):
        await client.responses.create(model="chat", input="Hello!")
    with pytest.raises(openai.NotFoundError):
        await client.images.generate(model="chat", prompt="A cat")
    with pytest.raises(openai.PermissionDeniedError):
        await client.chat.completions.create(
            model="chat", messages=HELLO, extra_headers={"x-data-class": "secret"}
        )
    with pytest.raises(openai.InternalServerError) as down:
        await client.chat.completions.create(model="gone", messages=HELLO)
    assert down.value.status_code == 503


@pytest.mark.parametrize(
    "model", ["nobody", "acme/first", "first", "Chat", "chat ", 'é模\n"\\', "x" * 10_000, "\u0000"]
)
@pytest.mark.parametrize("stream", [False, True])
async def test_unknown_models(http: httpx.AsyncClient, model: str, stream: bool) -> None:
    """Also the names that servers and pools have: only virtual ones count."""
    body = {"model": model, "messages": HELLO, "stream": stream}
    error = error_of(await http.post(CHAT, json=body), 404, "model_not_found")
    assert error["param"] == "model"
    assert model[:200] in error["message"]
    assert len(error["message"]) < 400


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/v1", "/v1/", "/health", "/metrics", "/chat/completions", "/v2/chat/completions"),
        *("/v1/chat", "/v1/chat/completions/", "/v1/responses", "/v1/files"),
        *('/"quoted"/%22', "/ünïcode"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_unknown_paths(http: httpx.AsyncClient, method: str, path: str) -> None:
    content = b'{"model":"chat"}' if method == "POST" else None
    error = error_of(await http.request(method, path, content=content), 404)
    assert error["type"] == "invalid_request_error"
    assert method in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", CHAT, "POST"),
        ("PUT", CHAT, "POST"),
        ("DELETE", "/v1/completions", "POST"),
        ("PATCH", "/v1/embeddings?x=1", "POST"),
        ("OPTIONS", CHAT, "POST"),
        ("POST", "/v1/models", "GET"),
        ("DELETE", "/v1/models/chat", "GET"),
        ("PUT", "/v1/models?limit=1", "GET"),
    ],
)
async def test_wrong_methods(http: httpx.AsyncClient, method: str, path: str, allowed: str) -> None:
    answer = await http.request(method, path)
    error_of(answer, 405)
    assert answer.headers["allow"] == allowed


async def test_a_prompt_larger_than_every_window(
    client: openai.AsyncOpenAI, http: httpx.AsyncClient, servers: Servers
) -> None:
    """The error names the largest window there is, as OpenAI's does."""
    prompt = [{"role": "user", "content": "word " * 200}]
    with pytest.raises(openai.BadRequestError) as raised:
        await client.chat.completions.create(model="small", messages=prompt)  # type: ignore[arg-type]
    assert raised.value.code == "context_length_exceeded"
    assert "maximum context length is 100 tokens" in raised.value.message

    for path, key in (("/v1/completions", "prompt"), ("/v1/embeddings", "input")):
        answer = await http.post(path, json={"model": "small", key: "word " * 200})
        error = error_of(answer, 400, "context_length_exceeded")
        assert error["param"] == key

    # What the answer may take counts too; what fits one of the pools is served.
    body = {"model": "small", "messages": HELLO, "max_tokens": 200}
    error_of(await http.post(CHAT, json=body), 400, "context_length_exceeded")
    answer = await http.post(CHAT, json={**body, "max_tokens": 70})
    assert answer.headers["x-mr-pool"] == "small"
    assert answer.headers["x-mr-reason"] == "rule:pools; failover, smaller window"


IMAGE = [
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://a/b.png"}}]}
]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}


@pytest.mark.parametrize(
    ("more", "param"),
    [({"messages": IMAGE}, "messages"), ({"response_format": SCHEMA}, "response_format")],
    ids=["images", "jsonSchema"],
)
async def test_what_no_pool_can_do(
    http: httpx.AsyncClient, more: dict[str, object], param: str
) -> None:
    body = {"model": "small", "messages": HELLO, **more}
    error = error_of(await http.post(CHAT, json=body), 400, "unsupported_feature")
    assert error["param"] == param
    assert (await http.post(CHAT, json={**body, "model": "chat"})).status_code == 200


async def test_audio_is_refused(http: httpx.AsyncClient) -> None:
    """In messages, for answers, and on the paths that are all about it."""
    part = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    for more in (
        {"messages": [{"role": "user", "content": [part]}]},
        {"modalities": ["text", "audio"]},
        {"audio": {"voice": "alloy", "format": "mp3"}},
    ):
        answer = await http.post(CHAT, json={"model": "chat", "messages": HELLO, **more})
        error_of(answer, 400, "audio_not_supported")
    for path in ("speech", "transcriptions", "translations"):
        error = error_of(await http.post(f"/v1/audio/{path}", content=b"x"), 400)
        assert "Audio is not supported" in error["message"]


@pytest.mark.parametrize("told", [True, False], ids=["length told", "chunked"])
async def test_a_body_over_the_limit(http: httpx.AsyncClient, servers: Servers, told: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(33):
            yield b" " * MEGABYTE

    content = b" " * (33 * MEGABYTE) if told else pieces()
    try:
        answer = await http.post(CHAT, content=content, headers=JSON)
    except httpx.WriteError:
        # The answer came, and the connection was closed, before all was sent.
        return
    error_of(answer, 413, "request_too_large")
    assert await servers.first.count() == 0


async def test_a_body_just_under_the_limit(http: httpx.AsyncClient, servers: Servers) -> None:
    body = b'{"model":"chat","messages":[],"x":"' + b"a" * (31 * MEGABYTE) + b'"}'
    answer = await http.post(CHAT, content=body, headers=JSON)
    assert answer.status_code != 413
    (request,) = await servers.first.received()
    assert len(request.body) == len(body) + len("acme/first") - len("chat")


@pytest.mark.parametrize("stream", [False, True])
async def test_no_pool_can_answer(http: httpx.AsyncClient, stream: bool) -> None:
    """503, and when to try again."""
    body = {"model": "gone", "messages": HELLO, "stream": stream}
    answer = await http.post(CHAT, json=body)
    error = error_of(answer, 503)
    assert error["type"] == "server_error"
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["x-mr-route"] == "gone"


async def test_a_pool_without_its_key_is_never_asked(own_rig: Rig, servers: Servers) -> None:
    """A Secret that is not there when the router starts does not make keyless requests."""
    router = own_rig.router(
        provider("keyless", servers.third, secret="never-written"),
        route("keyless", pools=["keyless"]),
    )
    async with router.http() as http:
        answer = await http.post(CHAT, json={"model": "keyless", "messages": HELLO})
    error_of(answer, 503)
    assert int(answer.headers["retry-after"]) > 0
    assert await servers.third.count() == 0


@pytest.mark.parametrize("classes", ["secret", "public,secret", "PUBLIC, Secret", "x" * 5000])
async def test_data_that_no_pool_may_see(
    http: httpx.AsyncClient, servers: Servers, classes: str
) -> None:
    headers = {"x-data-class": classes}
    answer = await http.post(CHAT, json={"model": "small", "messages": HELLO}, headers=headers)
    error = error_of(answer, 403, "data_class_forbidden")
    assert "public" not in error["message"] or "public" in classes.lower()
    assert [await server.count() for server in servers] == [0, 0, 0]


@pytest.mark.parametrize("status", [400, 401, 404, 422, 429, 500, 503])
async def test_a_servers_own_errors_arrive_as_they_are(
    http: httpx.AsyncClient, servers: Servers, status: int
) -> None:
    """Where nobody else can take over: status, body and `retry-after`."""
    await servers.first.fault(fail_status=status, retry_after=7)
    answer = await http.post(CHAT, json={"model": "chat", "messages": HELLO})
    assert answer.status_code == status
    assert answer.headers["x-mr-pool"] == "first"
    assert answer.headers["retry-after"] == "7"
    assert set(json.loads(answer.content)["error"]) >= {"message", "type", "code"}


@pytest.mark.parametrize(("mode", "status"), [("reset", 503), ("reset_mid_headers", 502)])
async def test_servers_that_break_off(
    http: httpx.AsyncClient, servers: Servers, mode: str, status: int
) -> None:
    await servers.first.fault(mode=mode)
    answer = await http.post(CHAT, json={"model": "chat", "messages": HELLO})
    error = error_of(answer, status)
    assert error["type"] == "server_error"

    async def healed() -> bool:
        answer = await http.post(CHAT, json={"model": "chat", "messages": HELLO})
        return answer.status_code == 200

    await servers.first.fault()
    await eventually(healed)
