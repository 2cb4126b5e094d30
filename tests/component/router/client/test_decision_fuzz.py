"""Whatever is written to the decision server's socket, it answers the next good request."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import uvloop
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from component.router.manifests import pool, route
from modelrouter.api.manifests import load_manifests
from modelrouter.plan.routers import plan_router
from modelrouter.router.accounting.ledger import Ledger
from modelrouter.router.decisions.protocol import DecisionServer
from modelrouter.router.decisions.service import DecisionService

GOOD = b'{"model":"chat","messages":[{"role":"user","content":"Hello!"}]}'
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: agent\r\n"
MANY = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


class Asked:
    """A decision server, and Envoy's side of its socket."""

    def __init__(self, runner: asyncio.Runner, path: str) -> None:
        self._runner = runner
        self._path = path

    def send(self, *pieces: bytes) -> bytes:
        """What comes back until the server closes, or has answered all that was whole."""
        return self._runner.run(self._send(pieces))

    async def _send(self, pieces: Sequence[bytes]) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self._path)
        received = b""
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            writer.write_eof()
            async with asyncio.timeout(5):
                while part := await reader.read(65536):
                    received += part
        writer.close()
        return received

    def check(self) -> None:
        """It still decides."""
        answer = self.send(request(GOOD))
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nx-mr-route: chat\r\n" in answer
        assert re.search(rb"\r\nx-mr-(plan|chain): first", answer)


def request(body: bytes, head: bytes = HEAD) -> bytes:
    return head + b"content-length: %d\r\n\r\n%b" % (len(body), body)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """One server for all, so that nothing any test has sent is forgiven."""
    directory = tmp_path_factory.mktemp("manifests")
    manifest = directory / "all.yaml"
    resources = [pool("first", "127.0.0.1:1", model="real"), route("chat", pools=["first"])]
    manifest.write_text(yaml.safe_dump_all(resources))
    config = plan_router(load_manifests([directory]), "default", "default").config
    # Not pytest's directory: paths of Unix sockets may have 107 bytes at most.
    with (
        tempfile.TemporaryDirectory(prefix="mr-") as sockets,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        service = DecisionService(Ledger())

        async def start() -> DecisionServer:
            service.use(await service.compile(config), {})
            server = DecisionServer(f"{sockets}/decide.sock", service)
            await server.start()
            return server

        server = runner.run(start())
        yield Asked(runner, f"{sockets}/decide.sock")
        runner.run(server.stop())


@given(st.lists(st.binary(max_size=300), max_size=5))
@MANY
def test_any_bytes(asked: Asked, pieces: list[bytes]) -> None:
    asked.send(*pieces)
    asked.check()


@given(st.binary(max_size=300), st.integers(0, 200), st.integers(0, 30))
@MANY
def test_requests_with_something_broken(asked: Asked, junk: bytes, at: int, cut: int) -> None:
    """A good request with bytes replaced, taken away or put in anywhere."""
    good = request(GOOD)
    asked.send(good[:at] + junk + good[at + cut :])
    asked.check()


@given(st.binary(max_size=500))
@MANY
def test_any_body(asked: Asked, body: bytes) -> None:
    """Always one whole answer: of a decision, or of an error as clients know it."""
    status, content = answered(asked.send(request(body)))
    assert status in (200, 400, 404)
    if status != 200:
        assert set(json.loads(content)["error"]) == {"message", "type", "param", "code"}
    asked.check()


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "image_url", "model", "function"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)
FIELDS = [
    *("messages", "prompt", "input", "tools", "functions", "response_format", "modalities"),
    *("audio", "stream", "max_tokens", "max_completion_tokens", "metadata", "user", "n"),
]
PATHS = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/chat/completions?x=1"]


@given(st.dictionaries(st.sampled_from(FIELDS), ANY_JSON, max_size=6), st.sampled_from(PATHS))
@MANY
def test_any_json(asked: Asked, fields: dict[str, Any], path: str) -> None:
    """Fields of any type are the server's business, unless they are about audio."""
    head = f"POST {path} HTTP/1.1\r\nhost: agent\r\n".encode()
    for body in ({"model": "chat", **fields}, {**fields, "model": "chat"}):
        status, content = answered(asked.send(request(json.dumps(body).encode(), head)))
        assert status == 200 or json.loads(content)["error"]["code"] == "audio_not_supported"
    asked.check()


@given(
    st.dictionaries(
        st.sampled_from(["x-session-id", "x-data-class", "x-team", "x-request-id", "x"]),
        st.binary(max_size=100).map(lambda value: re.sub(rb"[\0-\x1f\x7f]", b"", value)),
    )
)
@MANY
def test_any_header_values(asked: Asked, headers: dict[str, bytes]) -> None:
    lines = b"".join(b"%b: %b\r\n" % (name.encode(), headers[name]) for name in headers)
    status, _ = answered(asked.send(request(GOOD, HEAD + lines)))
    assert status in (200, 403)
    asked.check()


@given(st.lists(st.integers(1, 400), max_size=20), st.integers(1, 5))
@MANY
def test_pipelined_requests_in_pieces(asked: Asked, cuts: list[int], count: int) -> None:
    """However the bytes are cut, there are as many answers as requests."""
    stream = request(GOOD) * count
    ends = sorted({cut for cut in cuts if cut < len(stream)})
    pieces = [
        stream[start:end] for start, end in zip([0, *ends], [*ends, len(stream)], strict=True)
    ]
    assert asked.send(*pieces).count(b"HTTP/1.1 200 OK\r\n") == count


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"x: " + b"a" * 10_000_000 + b"\r\n\r\n",
        HEAD + b"".join(b"x-%d: a\r\n" % n for n in range(50_000)) + b"\r\n",
        b"POST /" + b"a" * 5_000_000 + b" HTTP/1.1\r\n\r\n",
        b"A" * 5_000_000,
        HEAD + b"content-length: 99999999999999999999999\r\n\r\n",
        HEAD + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        HEAD + b"transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        HEAD + b"upgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n\r\n" + request(GOOD),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        request(b"[" * 1_000_000),
        request(b'{"model":"chat","messages":' + b"[" * 900 + b"]" * 900 + b"}"),
        request(b'{"model":"chat","x":' + b'{"a":' * 1_000 + b"1" + b"}" * 1_000 + b"}"),
        request(b'{"model":"\\ud800","messages":[]}'),
        request(b'{"model":"chat","messages":[{"content":"\\udc00"}]}'),
        request(b'{"model":"chat","messages":[{"content":1e400}]}'),
        request(b'{"model":"chat","input":[[' + b"1," * 500_000 + b"1]]}"),
    ],
    ids=range(17),
)
def test_what_a_generator_would_not_find(asked: Asked, sent: bytes) -> None:
    answer = asked.send(sent)
    assert b"HTTP/1.1 500" not in answer
    asked.check()


def test_connections_that_are_left_half_open(asked: Asked) -> None:
    """Two hundred of them are no burden."""
    for count in range(200):
        asked.send(request(GOOD)[:count])
    asked.check()


def answered(received: bytes) -> tuple[int, bytes]:
    """Status and body of the one answer in these bytes."""
    head, _, body = received.partition(b"\r\n\r\n")
    found = re.match(rb"HTTP/1\.1 (\d+) ", head)
    length = re.search(rb"\r\ncontent-length: (\d+)", head)
    assert found, received[:200]
    assert length, received[:200]
    assert len(body) == int(length[1])
    return int(found[1]), body
