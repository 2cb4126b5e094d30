"""HTTP that no client library writes: the router lives on, and never answers with a text page."""

from __future__ import annotations

import asyncio
import contextlib

import httpx
import pytest

from component.router.client.answers import CHAT, HELLO, JSON, error_in, error_of
from component.router.client.conftest import Serve, Servers
from component.router.rig import Router, pool, route

BODY = b'{"model":"chat","messages":[{"role":"user","content":"Hello!"}]}'
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"


@pytest.fixture(scope="module")
def router(serve: Serve, servers: Servers) -> Router:
    return serve(pool("first", servers.first), route("chat", pools=["first"]))


async def exchange(router: Router, *sent: bytes, half_close: bool = True) -> bytes:
    """Send these bytes and return all that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", router.port)
    received = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(3):
            for piece in sent:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01)
            if half_close:
                writer.write_eof()
            while piece := await reader.read(65536):
                received += piece
    writer.close()
    return received


def answers(received: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """The HTTP answers in these bytes."""
    found = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        assert status.startswith("HTTP/1."), received[:200]
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        assert "transfer-encoding" not in headers
        length = int(headers.get("content-length", "0"))
        found.append((int(status.split(" ")[1]), headers, rest[:length]))
        received = rest[length:]
    return found


def with_length(body: bytes = BODY) -> bytes:
    return b"content-length: %d\r\n\r\n%b" % (len(body), body)


BROKEN = {
    "no HTTP": b"hello\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40,
    "null bytes": b"\0" * 100,
    "unknown version": b"GET /v1/models HTTP/9.9\r\nhost: a\r\n\r\n",
    "unknown method": b"BREW /v1/models HTTP/1.1\r\nhost: a\r\n\r\n",
    "no host": b"GET /v1/models HTTP/1.1\r\n\r\n",
    "no path": b"GET  HTTP/1.1\r\nhost: a\r\n\r\n",
    "space in the path": b"GET /v1/ models HTTP/1.1\r\nhost: a\r\n\r\n",
    "header without colon": b"GET /v1/models HTTP/1.1\r\nhost: a\r\nnonsense\r\n\r\n",
    "header with a null byte": b"GET /v1/models HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n",
    "space before the colon": b"GET /v1/models HTTP/1.1\r\nhost: a\r\nx : b\r\n\r\n",
    "negative length": HEAD + b"content-length: -1\r\n\r\n",
    "length that is no number": HEAD + b"content-length: many\r\n\r\n",
    "two lengths": HEAD + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
    "length and chunked": (
        HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "unknown transfer encoding": HEAD + b"transfer-encoding: gzip\r\n\r\nabc",
    "chunk without a size": HEAD + b"transfer-encoding: chunked\r\n\r\nxyz\r\n",
    "connect": b"CONNECT example.com:443 HTTP/1.1\r\nhost: example.com:443\r\n\r\n",
    "long header": b"GET /v1/models HTTP/1.1\r\nhost: a\r\nx: " + b"a" * 100_000 + b"\r\n\r\n",
    "many headers": b"GET /v1/models HTTP/1.1\r\nhost: a\r\n" + b"x: a\r\n" * 500 + b"\r\n",
    "long path": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n",
}


@pytest.mark.parametrize("name", BROKEN)
async def test_what_is_no_proper_request(
    router: Router, http: httpx.AsyncClient, name: str
) -> None:
    """An error as JSON or without a body, or just the end of the connection; and no harm."""
    for status, headers, body in answers(await exchange(router, BROKEN[name])):
        assert status >= 400
        if body:
            error_in(headers.get("content-type", ""), body)
    assert (await http.get("/v1/models")).status_code == 200


async def test_headers_that_are_too_large(http: httpx.AsyncClient) -> None:
    """Said as an error that a client understands."""
    for headers in ({"x": "a" * 100_000}, {f"x-{n}": "a" for n in range(500)}):
        answer = await http.post(CHAT, json={"model": "chat", "messages": HELLO}, headers=headers)
        error_of(answer, 431, "headers_too_large")


async def test_long_headers_that_are_not_too_large(
    http: httpx.AsyncClient, servers: Servers
) -> None:
    headers = {"x-session-id": "s" * 4_000, "x-team": "t" * 8_000, "x-priority": "p" * 8_000}
    answer = await http.post(CHAT, json={"model": "chat", "messages": HELLO}, headers=headers)
    assert answer.status_code == 200


async def test_requests_in_one_go(router: Router) -> None:
    """Pipelined requests are answered in their order, also when one of them is refused."""
    unknown = with_length(BODY.replace(b"chat", b"nobody"))
    last = HEAD + b"connection: close\r\n" + with_length()
    received = await exchange(
        router, HEAD + with_length() + HEAD + unknown + last, half_close=False
    )
    assert [status for status, _, _ in answers(received)] == [200, 404, 200]


async def test_a_request_byte_by_byte(router: Router, servers: Servers) -> None:
    request = HEAD + b"connection: close\r\n" + with_length()
    pieces = [request[at : at + 7] for at in range(0, len(request), 7)]
    ((status, _, _),) = answers(await exchange(router, *pieces, half_close=False))
    assert status == 200
    (received,) = await servers.first.received()
    assert received.body == BODY.replace(b'"chat"', b'"acme/first"')


async def test_expect_continue(router: Router) -> None:
    """As curl asks before large bodies."""
    head = HEAD + b"connection: close\r\nexpect: 100-continue\r\n"
    head += b"content-length: %d\r\n\r\n" % len(BODY)
    received = await exchange(router, head, BODY, half_close=False)
    statuses = [status for status, _, _ in answers(received)]
    assert statuses in ([100, 200], [200])


async def test_a_whole_url_as_the_target(router: Router) -> None:
    """As clients write it that take the router for a proxy."""
    request = b"GET http://a/v1/models HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    ((status, _, body),) = answers(await exchange(router, request, half_close=False))
    assert (status, b'"chat"' in body) == (200, True)


async def test_a_request_that_ends_early(router: Router, servers: Servers) -> None:
    """Less than its length says: no server hears of it."""
    await exchange(router, HEAD + b"content-length: 1000\r\n\r\n" + BODY)
    assert await servers.first.count() == 0


async def test_an_upgrade_is_not_taken(http: httpx.AsyncClient) -> None:
    headers = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
    answer = await http.get("/v1/realtime", headers=headers)
    assert 400 <= answer.status_code < 500
    if answer.content:
        error_of(answer, answer.status_code)


async def test_an_offer_of_http2_is_passed_over(http: httpx.AsyncClient) -> None:
    """Java's client makes it with every first request."""
    headers = {
        "connection": "Upgrade, HTTP2-Settings",
        "upgrade": "h2c",
        "http2-settings": "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
    }
    answer = await http.post(CHAT, json={"model": "chat", "messages": HELLO}, headers=headers)
    assert answer.status_code == 200
    assert answer.http_version == "HTTP/1.1"


async def test_head_requests_have_no_body(http: httpx.AsyncClient) -> None:
    for path in ("/v1/models", CHAT, "/nowhere"):
        answer = await http.head(path)
        assert answer.status_code >= 400
        assert answer.content == b""


async def test_compressed_bodies_are_not_guessed_at(
    http: httpx.AsyncClient, servers: Servers
) -> None:
    """The router reads bodies; one that it cannot read it refuses."""
    headers = {**JSON, "content-encoding": "gzip"}
    error_of(await http.post(CHAT, content=b"\x1f\x8b\x08" + b"x" * 50, headers=headers), 400)
    assert await servers.first.count() == 0
