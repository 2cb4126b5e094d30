"""A body reaches the server byte for byte, but for the model's name and the pool's parameters."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from component.router.client.answers import NEVER_EJECTED
from component.router.client.conftest import Serve, Servers
from component.router.rig import Router, pool, provider, route, secret

CHAT = "/v1/chat/completions"
JSON = {"content-type": "application/json"}
PROMPT = '"messages":[{"role":"user","content":"Hello!"}]'


@pytest.fixture(scope="module")
def router(serve: Serve, servers: Servers) -> Router:
    """`plain` reaches one pool; `both` a failing one first; `adapted` one with parameters."""
    return serve(
        secret("second", "sk-second"),
        pool("first", servers.first, outlierDetection=NEVER_EJECTED),
        provider("second", servers.second, secret="second"),
        provider(
            "third",
            servers.third,
            parameters={
                "drop": ["temperature", "logit_bias"],
                "rename": {"max_tokens": "max_completion_tokens", "usr": "user"},
            },
        ),
        route("plain", pools=["first"]),
        route("both", pools=["first", "second"], retry={"attempts": 1}),
        route("adapted", pools=["third"]),
    )


BODIES = {
    "model first": f'{{"model":"M",{PROMPT}}}',
    "model last": f'{{{PROMPT},"model":"M"}}',
    "model between": f'{{"n":1,"model":"M",{PROMPT}}}',
    "white space": f' \r\n\t{{ "model"\n:\t"M" , {PROMPT} \r\n}}  \n',
    "key order": f'{{"z":1,"a":2,"model":"M","b":{{"z":1,"a":2}},{PROMPT}}}',
    "big integers": f'{{"model":"M","seed":123456789012345678901234567890,{PROMPT}}}',
    "largest integers": f'{{"model":"M","a":18446744073709551615,"b":-{2**63},{PROMPT}}}',
    "floats": f'{{"model":"M","a":1.0,"b":1e5,"c":0.1000,"d":-0.0,"e":1E-7,{PROMPT}}}',
    "long float": f'{{"model":"M","a":0.1234567890123456789012345678901234567890,{PROMPT}}}',
    "escapes": f'{{"model":"M","user":"\\u00e9\\/\\n\\ud83d\\ude00\\"\\\\",{PROMPT}}}',
    "unicode": f'{{"model":"M","user":"é 模型 \U0001f600",{PROMPT}}}',
    "unicode keys": f'{{"é":1,"model":"M","模":2,{PROMPT}}}',
    "escaped keys": f'{{"\\u0061":1,"model":"M",{PROMPT}}}',
    "key that looks like it": f'{{"model ":"x","Model":"y","models":"z","model":"M",{PROMPT}}}',
    "in metadata": f'{{"model":"M","metadata":{{"model":"mine"}},{PROMPT}}}',
    "in metadata before": f'{{"metadata":{{"model":"mine"}},"model":"M",{PROMPT}}}',
    "in metadata after": f'{{{PROMPT},"model":"M","metadata":{{"model":"mine"}}}}',
    "in a message": (
        '{"messages":[{"role":"user","content":"{\\"model\\":\\"x\\"}","model":"y"}],"model":"M"}'
    ),
    "as a value": f'{{"user":"model","model":"M","x":["model","M"],{PROMPT}}}',
    "in an array": f'{{"x":[{{"model":"a"}},[{{"model":"b"}}]],"model":"M",{PROMPT}}}',
    "duplicate keys": f'{{"model":"unknown","user":"a","model":"M","user":"b",{PROMPT}}}',
    "duplicate of another type": f'{{"model":null,"model":{{"model":1}},"model":"M",{PROMPT}}}',
    "nested 500 deep": f'{{"x":{"[" * 500}{"]" * 500},"model":"M",{PROMPT}}}',
    "nothing but the model": '{"model":"M"}',
    "brackets in strings": f'{{"user":"}}]{{[\\\\","model":"M","x":"\\\\\\"}}",{PROMPT}}}',
    "null byte escaped": f'{{"user":"\\u0000","model":"M",{PROMPT}}}',
}
"""`"M"` stands for the model: the virtual one as sent, the pool's as received. It is in no other
place."""


def written(text: str, model: str) -> bytes:
    """The body with this model name, in place of the last top-level `"M"`."""
    if text == BODIES["as a value"]:
        return text.replace('"M"', json.dumps(model), 1).encode()
    assert text.count('"M"') == 1
    return text.replace('"M"', json.dumps(model)).encode()


@pytest.mark.parametrize("name", BODIES)
async def test_bodies_arrive_as_sent(http: httpx.AsyncClient, servers: Servers, name: str) -> None:
    """Directly, and after a failure at a pool with another name for the model."""
    sent = written(BODIES[name], "plain")
    await http.post(CHAT, content=sent, headers=JSON)
    (request,) = await servers.first.received()
    assert request.body == written(BODIES[name], "acme/first")
    assert request.header("content-length") == str(len(request.body))

    await servers.first.forget()
    await servers.first.fault(fail_status=503)
    await http.post(CHAT, content=written(BODIES[name], "both"), headers=JSON)
    (failed,) = await servers.first.received()
    (request,) = await servers.second.received()
    assert failed.body == written(BODIES[name], "acme/first")
    assert request.body == written(BODIES[name], "acme/second")
    assert request.header("content-length") == str(len(request.body))
    assert request.header("authorization") == "Bearer sk-second"


SPELLINGS = [r"mod\u0065l", r"\u006dodel", r"\u006D\u006F\u0064\u0065\u006C"]


@pytest.mark.parametrize("key", SPELLINGS)
async def test_the_key_may_be_spelled_with_escapes(
    http: httpx.AsyncClient, servers: Servers, key: str
) -> None:
    """It stays spelled so, and counts as a duplicate of the plain spelling."""
    template = f'{{{PROMPT},"model":"unknown","{key}":%s,"x":1}}'
    await http.post(CHAT, content=(template % '"plain"').encode(), headers=JSON)
    (request,) = await servers.first.received()
    assert request.body == (template % '"acme/first"').encode()


async def test_the_value_may_be_spelled_with_escapes(
    http: httpx.AsyncClient, servers: Servers
) -> None:
    await http.post(CHAT, content=rf'{{"model":"pl\u0061in",{PROMPT}}}'.encode(), headers=JSON)
    (request,) = await servers.first.received()
    assert request.body == f'{{"model":"acme/first",{PROMPT}}}'.encode()


@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("kilobytes", [1, 16, 100, 1000])
async def test_large_bodies(
    http: httpx.AsyncClient, servers: Servers, kilobytes: int, place: str
) -> None:
    """Of text with everything in it that could be mistaken for the key."""
    text = json.dumps('say "model": "x" or {"model":"y"} \\ é模 ' * (kilobytes * 1024 // 42))
    prompt = f'"messages":[{{"role":"user","content":{text}}}]'

    def body(model: str) -> bytes:
        members = [f'"model":"{model}"', prompt]
        return f"{{{','.join(members if place == 'first' else members[::-1])}}}".encode()

    answer = await http.post(CHAT, content=body("plain"), headers=JSON)
    assert answer.status_code in (200, 400)  # The largest exceed the server's own window.
    (request,) = await servers.first.received()
    assert request.body == body("acme/first")


async def test_chunked_bodies(http: httpx.AsyncClient, servers: Servers) -> None:
    """A client that does not know the length yet, and one that sends slowly."""

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b'{"mod', b'el":"pl', b'ain",', PROMPT.encode(), b"}"):
            yield piece
            await asyncio.sleep(0.02)

    answer = await http.post(CHAT, content=pieces(), headers=JSON)
    assert answer.status_code == 200
    (request,) = await servers.first.received()
    assert request.body == f'{{"model":"acme/first",{PROMPT}}}'.encode()


ADAPTED = {
    "nothing to adapt": ("{%s,PROMPT}", "{%s,PROMPT}"),
    "dropped first": ('{"temperature":0.70,%s,PROMPT}', "{%s,PROMPT}"),
    "dropped last": ('{%s,PROMPT,"temperature":{"a":[1,"}"]}}', "{%s,PROMPT}"),
    "dropped between": ('{%s , "temperature" : 1 , PROMPT}', "{%s , PROMPT}"),
    "all dropped but one": ('{"temperature":1,"logit_bias":{},%s}', "{%s}"),
    "duplicates dropped": ('{"temperature":1,%s,"temperature":2,PROMPT}', "{%s,PROMPT}"),
    "renamed": (
        '{"max_tokens" : 1.0e1, %s,PROMPT}',
        '{"max_completion_tokens" : 1.0e1, %s,PROMPT}',
    ),
    "both names": (
        '{"max_tokens":1,%s,"max_completion_tokens":2,PROMPT}',
        '{%s,"max_completion_tokens":2,PROMPT}',
    ),
    "nested ones stay": (
        '{"metadata":{"temperature":1,"max_tokens":"2"},%s,PROMPT}',
        '{"metadata":{"temperature":1,"max_tokens":"2"},%s,PROMPT}',
    ),
    "escaped key": (r'{"t\u0065mperature":1,%s,PROMPT}', "{%s,PROMPT}"),
    "renamed and dropped": (
        '{"usr":"é\\u00e9","logit_bias":null,"seed":12345678901234567890123, %s,PROMPT}',
        '{"user":"é\\u00e9","seed":12345678901234567890123, %s,PROMPT}',
    ),
}
"""As sent and as received; `%s` stands for the model with its key."""


@pytest.mark.parametrize("name", ADAPTED)
async def test_parameters_of_the_pool(http: httpx.AsyncClient, servers: Servers, name: str) -> None:
    """Dropped and renamed at the top level only; all else stays as it is."""
    sent, expected = (text.replace("PROMPT", PROMPT) for text in ADAPTED[name])
    await http.post(CHAT, content=(sent % '"model":"adapted"').encode(), headers=JSON)
    (request,) = await servers.third.received()
    assert request.body.decode() == expected % '"model":"acme/third"'
    assert request.header("content-length") == str(len(request.body))


async def test_answers_arrive_as_the_server_sent_them(
    http: httpx.AsyncClient, servers: Servers
) -> None:
    """Compared with the same request sent to the server itself."""
    through = await http.post(CHAT, content=f'{{"model":"plain",{PROMPT}}}', headers=JSON)
    async with httpx.AsyncClient(verify=False, trust_env=False) as straight:
        direct = await straight.post(
            f"{servers.first.url}{CHAT}", content=f'{{"model":"acme/first",{PROMPT}}}', headers=JSON
        )
    own = {"id": "", "created": 0}
    assert {**through.json(), **own} == {**direct.json(), **own}
    assert through.headers["content-type"] == direct.headers["content-type"]
    assert through.headers["server"] == direct.headers["server"]
