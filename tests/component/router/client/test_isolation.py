"""What a client sends about itself stays with the router: pools see only what is theirs."""

from __future__ import annotations

import asyncio

import httpx
import openai
import pytest

from component.router.client.answers import NEVER_EJECTED
from component.router.client.conftest import Serve, Servers
from component.router.rig import Rig, Router, pool, provider, route, secret

HELLO = [{"role": "user", "content": "Hello!"}]
BODY = {"model": "keyed", "messages": HELLO}
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def router(serve: Serve, servers: Servers) -> Router:
    """Two pools with keys of their own, one without."""
    return serve(
        secret("first", "sk-first"),
        secret("second", "sk-second"),
        provider("first", servers.first, secret="first", outlierDetection=NEVER_EJECTED),
        provider("second", servers.second, secret="second"),
        provider("keyless", servers.third),
        route("keyed", pools=["first"]),
        route("other", pools=["second"]),
        route("keyless", pools=["keyless"]),
        route("both", pools=["first", "second"]),
        route("mixed", pools=["first", "keyless"]),
    )


PRIVATE = {
    "authorization": "Bearer the-callers-own",
    "api-key": "the-callers-own",
    "x-api-key": "the-callers-own",
    "cookie": "session=the-callers-own",
    "proxy-authorization": "Basic the-callers-own",
    "openai-organization": "org-the-callers-own",
    "openai-project": "proj-the-callers-own",
}


@pytest.mark.parametrize("name", PRIVATE)
async def test_a_callers_credentials_reach_no_pool(
    http: httpx.AsyncClient, servers: Servers, name: str
) -> None:
    """Neither one with a key of its own nor one without."""
    for model in ("keyed", "keyless"):
        answer = await http.post(CHAT, json={**BODY, "model": model}, headers={name: PRIVATE[name]})
        assert answer.status_code == 200
    for server in (servers.first, servers.third):
        (request,) = await server.received()
        assert "the-callers-own" not in str(request.headers)


async def test_each_pool_gets_its_own_key_and_no_other(
    client: openai.AsyncOpenAI, servers: Servers
) -> None:
    for model in ("keyed", "other", "keyless"):
        await client.chat.completions.create(model=model, messages=HELLO)
    sent = [(await server.received())[0].header("authorization") for server in servers]
    assert sent == ["Bearer sk-first", "Bearer sk-second", None]


@pytest.mark.parametrize(("model", "server"), [("both", "second"), ("mixed", "third")])
async def test_a_key_does_not_follow_to_the_next_pool(
    client: openai.AsyncOpenAI, servers: Servers, model: str, server: str
) -> None:
    """The first pool fails; the next one sees its own key, or none if it has none."""
    await servers.first.fault(fail_status=503)
    raw = await client.chat.completions.with_raw_response.create(model=model, messages=HELLO)
    assert int(raw.headers["x-mr-attempts"]) > 1
    (request,) = await getattr(servers, server).received()
    assert request.header("authorization") == ("Bearer sk-second" if model == "both" else None)
    assert "sk-first" not in str(request.headers)
    assert request.json["model"] == f"acme/{server}"


STEERING = {
    "x-mr-plan": "second;600000.0.0;",
    "x-mr-chain": "second",
    "x-mr-idle": "1",
    "x-mr-ready": "first",
    "x-mr-answered": "1",
    "x-mr-span": "0,10",
    "x-mr-hash": "abc",
    "x-mr-route": "other",
    "x-mr-reason": "because",
    "x-mr-void": "1",
    "x-envoy-max-retries": "9",
    "x-envoy-retry-on": "5xx",
    "x-envoy-upstream-rq-timeout-ms": "1",
    "x-envoy-upstream-rq-per-try-timeout-ms": "1",
    "x-envoy-upstream-alt-stat-name": "mine",
    "x-envoy-original-path": "/v1/embeddings",
    "x-envoy-decorator-operation": "mine",
    "x-envoy-force-trace": "1",
    "x-envoy-hedge-on-per-try-timeout": "true",
    "x-envoy-retriable-status-codes": "200",
    "x-envoy-expected-rq-timeout-ms": "1",
    "X-Envoy-Internal": "true",
}


@pytest.mark.parametrize("name", STEERING)
async def test_control_headers_have_no_effect_and_go_no_further(
    http: httpx.AsyncClient, servers: Servers, name: str
) -> None:
    """The answer takes 40 ms here, and would not arrive if any such timeout counted."""
    await servers.first.fault(first_token_ms=40)
    answer = await http.post(CHAT, json=BODY, headers={name: STEERING[name]})

    assert answer.status_code == 200
    assert answer.json()["model"] == "acme/first"
    assert answer.headers["x-mr-route"] == "keyed"
    assert answer.headers["x-mr-pool"] == "first"
    assert answer.headers["x-mr-reason"] == "rule:pools"
    (request,) = await servers.first.received()
    assert request.json == {**BODY, "model": "acme/first"}
    assert not [name for name in request.names if name.startswith(("x-mr-", "x-envoy-"))]


async def test_no_client_asks_for_more_attempts(http: httpx.AsyncClient, servers: Servers) -> None:
    """A pool with one endpoint and nothing after it gets what the route says: two attempts."""
    await servers.first.fault(fail_status=500)
    headers = {name: value for name, value in STEERING.items() if name.startswith("x-envoy-")}
    answer = await http.post(CHAT, json=BODY, headers=headers)
    assert answer.status_code == 500
    assert answer.headers["x-mr-attempts"] == "2"
    assert await servers.first.count() == 2


async def test_servers_cannot_speak_in_the_routers_name(own_rig: Rig) -> None:
    """`x-mr-…` on an answer is the router's, whatever a server sends."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        names = ("x-mr-route", "x-mr-pool", "x-mr-reason", "x-mr-attempts")
        lines = "".join(f"{name}: forged\r\n" for name in names)
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n{lines}\r\n{{}}".encode())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        forging = pool("forging", address, model="any"), route("honest", pools=["forging"])
        router = await asyncio.to_thread(own_rig.router, *forging)
        async with router.http() as http:
            received = await http.post(CHAT, json={**BODY, "model": "honest"})
    assert received.status_code == 200
    for name in ("x-mr-route", "x-mr-pool", "x-mr-reason", "x-mr-attempts", "x-request-id"):
        (value,) = received.headers.get_list(name)
        assert value != "forged"


async def test_headers_of_the_application_do_arrive(
    http: httpx.AsyncClient, servers: Servers
) -> None:
    """What is neither private nor a control header is between the client and the server."""
    headers = {"user-agent": "mine/1", "x-custom": "yes", "accept-language": "de", "dnt": "1"}
    answer = await http.post(CHAT, json=BODY, headers=headers)
    assert answer.status_code == 200
    (request,) = await servers.first.received()
    assert {name: request.header(name) for name in headers} == headers


async def test_the_server_is_addressed_by_its_own_name(
    http: httpx.AsyncClient, servers: Servers
) -> None:
    """Providers behind a shared front find their site by `host`."""
    await http.post(CHAT, json=BODY, headers={"host": "router.example"})
    (request,) = await servers.first.received()
    assert request.header("host") == servers.first.address
    assert "router.example" not in str(request.headers)
