"""The proxy between a client's Envoy and Envoy again, which are both bare sockets here."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from modelrouter.api.router_config import PoolScaling
from modelrouter.policy.state import PoolState
from modelrouter.router.holding import room as room_module
from modelrouter.router.holding import serving
from modelrouter.router.holding.outcomes import Outcomes
from modelrouter.router.holding.room import WaitingRoom
from modelrouter.router.holding.serving import HoldingServer
from modelrouter.router.holding.tickets import Service

BODY = b'{"model": "chat"}'
JSON_ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n"
    b"x-mr-pool: a\r\nx-mr-attempts: 2\r\nconnection: close\r\n\r\n{}"
)
AGAIN = b"HTTP/1.1 503 X\r\nx-mr-again: overloaded\r\ncontent-length: 0\r\n\r\n"
Answer = Callable[[asyncio.StreamWriter, int], None]


def question(*, stream: bool = False, service: Service | None = None, body: bytes = BODY) -> bytes:
    """A request as Envoy hands it over."""
    kind = (service or (Service.WAIT_IN_STREAM if stream else Service.WAIT)).encode()
    return (
        b"POST /v1/chat/completions?x=%2F HTTP/1.1\r\nHost: models\r\nX-Request-Id: r\r\n"
        b"x-mr-hold: " + kind + b" a\r\nx-odd: caf\xe9\r\nconnection: keep-alive\r\n"
        b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    )


class Scene:
    """A proxy, and an Envoy that takes requests again."""

    def __init__(self, directory: Path) -> None:
        self.states = {"a": PoolState(ready=0, endpoints=0, cold=True)}
        self.room = WaitingRoom(self.states)
        self.room.scalings = {"a": PoolScaling(from_zero=True, max_waiting=2)}
        self.outcomes = Outcomes()
        self.refused: list[str] = []
        self.again: list[bytes] = []
        self.answer: Answer = lambda writer, number: writer.write(JSON_ANSWER)
        self._path, self._again_path = str(directory / "hold"), str(directory / "again")
        self.proxy = HoldingServer(
            self._path, self._again_path, self.room, self.outcomes, self.refused.append, 0.05
        )

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._take, self._again_path)
        await self.proxy.start()

    async def stop(self) -> None:
        self._server.close()
        await self.proxy.stop()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        self.again.append(head + await reader.readexactly(size))
        self.answer(writer, len(self.again))
        writer.close()

    async def send(self, request: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_unix_connection(self._path)
        writer.write(request)
        return reader, writer

    async def waiting(self, number: int) -> None:
        while self.room.waiting.get("a", 0) != number:
            await asyncio.sleep(0.005)

    def warm(self) -> None:
        self.states["a"].cold = False
        self.room.open_doors()


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    # Not pytest's directory: paths of Unix sockets may have 107 bytes at most.
    directory = Path(tempfile.mkdtemp(prefix="mr-"))
    found = Scene(directory)
    await found.start()
    yield found
    await found.stop()
    shutil.rmtree(directory)


async def test_a_request_goes_on_as_it_came_and_its_answer_comes_back(scene: Scene) -> None:
    reader, _ = await scene.send(question())
    await scene.waiting(1)
    assert not scene.again
    scene.warm()
    answer = await asyncio.wait_for(reader.read(), 10)
    assert answer == (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n"
        b"x-mr-pool: a\r\nx-mr-attempts: 2\r\nconnection: close\r\n\r\n{}"
    )
    assert scene.again == [
        b"POST /v1/chat/completions?x=%2F HTTP/1.1\r\nhost: models\r\nx-request-id: r\r\n"
        b"x-odd: caf\xe9\r\ncontent-length: 17\r\n\r\n" + BODY
    ]
    assert scene.room.ended == {("a", "served"): 1}


async def test_a_stream_is_kept_alive_until_its_answer_begins(scene: Scene) -> None:
    reader, _ = await scene.send(question(stream=True))
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert head.startswith(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n")
    comment = b"b\r\n: waiting\n\n\r\n"
    for _number in range(4):
        assert await asyncio.wait_for(reader.readexactly(len(comment)), 10) == comment
    scene.answer = lambda writer, number: writer.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        b"6\r\ndata: \r\n3\r\n1\n\n\r\n0\r\n\r\n"
    )
    scene.warm()
    rest = (await asyncio.wait_for(reader.read(), 10)).replace(comment, b"")
    assert rest == b"9\r\ndata: 1\n\n\r\n0\r\n\r\n"


async def test_who_may_not_go_on_yet_tries_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "AGAIN_SECONDS", 0.01)
    scene.answer = lambda writer, number: writer.write(AGAIN if number < 4 else JSON_ANSWER)
    scene.states["a"].cold = False
    reader, _ = await scene.send(question())
    assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 200 OK")
    assert len(scene.again) == 4
    assert len(set(scene.again)) == 1


async def test_a_stream_that_is_watched_does_not_try_again(scene: Scene) -> None:
    scene.answer = lambda writer, number: writer.write(AGAIN)
    reader, _ = await scene.send(question(service=Service.GUARD))
    answer = await asyncio.wait_for(reader.read(), 10)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"x-mr-again" not in answer
    assert scene.refused == ["overloaded"]
    assert len(scene.again) == 1


async def test_who_may_never_go_on_gives_up(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "AGAIN_SECONDS", 0.01)
    scene.room.scalings = {"a": PoolScaling(from_zero=True, wait_timeout_ms=100)}
    scene.answer = lambda writer, number: writer.write(AGAIN)
    scene.states["a"].cold = False
    reader, _ = await scene.send(question())
    answer = await asyncio.wait_for(reader.read(), 10)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'"cold_start_timeout"' in answer
    assert scene.refused == ["cold_start_timeout"]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_envoy_that_does_not_answer_is_told(scene: Scene, stream: bool) -> None:
    scene.answer = lambda writer, number: None
    scene.states["a"].cold = False
    reader, _ = await scene.send(question(stream=stream))
    answer = await asyncio.wait_for(reader.read(), 10)
    assert answer.startswith(b"HTTP/1.1 200 " if stream else b"HTTP/1.1 503 ")
    assert b'"upstream_unreachable"' in answer
    assert scene.room.ended == {("a", "failed"): 1}


def broken(kind: bytes, *parts: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: " + kind + b"\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


async def test_an_answer_that_breaks_off_is_never_ended(scene: Scene) -> None:
    answer = broken(b"application/json", b'{"choices":')
    scene.answer = lambda writer, number: writer.write(answer)
    scene.states["a"].cold = False
    reader, _ = await scene.send(question())
    got = b""
    try:
        while part := await asyncio.wait_for(reader.read(1000), 10):
            got += part
    except ConnectionError:
        pass
    assert not got.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("service", [Service.WAIT_IN_STREAM, Service.GUARD])
async def test_a_stream_that_breaks_off_says_so(scene: Scene, service: Service) -> None:
    """And half an event, which nobody could read, is left out."""
    answer = broken(b"text/event-stream", b"data: 1\n\nda", b"ta: 2\n\ndata: 3\n")
    scene.answer = lambda writer, number: writer.write(answer)
    scene.states["a"].cold = False
    reader, _ = await scene.send(question(service=service))
    got = await asyncio.wait_for(reader.read(), 10)
    events = re.findall(rb"data: (.*)\n\n", got)
    assert [*events[:2], events[3]] == [b"1", b"2", b"[DONE]"]
    assert json.loads(events[2])["error"]["code"] == "stream_broken"
    assert got.endswith(b"0\r\n\r\n")
    assert scene.refused == ["stream_broken"]


async def test_a_stream_that_breaks_off_after_its_last_event_is_whole(scene: Scene) -> None:
    answer = broken(b"text/event-stream", b"data: 1\n\n", b"data: [DONE]\n\n")
    scene.answer = lambda writer, number: writer.write(answer)
    scene.states["a"].cold = False
    reader, _ = await scene.send(question(service=Service.GUARD))
    got = await asyncio.wait_for(reader.read(), 10)
    assert re.findall(rb"data: (.*)\n\n", got) == [b"1", b"[DONE]"]
    assert got.endswith(b"0\r\n\r\n")
    assert not scene.refused


async def test_who_cannot_be_guarded_is_told(scene: Scene) -> None:
    scene.answer = lambda writer, number: None
    reader, _ = await scene.send(question(service=Service.GUARD))
    answer = await asyncio.wait_for(reader.read(), 10)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'"upstream_unreachable"' in answer


async def test_a_client_that_leaves_while_it_sends_or_waits_makes_room(scene: Scene) -> None:
    _, half = await scene.send(question()[:-9])
    await scene.waiting(1)
    half.close()
    await scene.waiting(0)
    _, whole = await scene.send(question())
    await scene.waiting(1)
    whole.close()
    await scene.waiting(0)
    scene.warm()
    await asyncio.sleep(0.05)
    assert not scene.again
    assert scene.room.ended == {("a", "gone"): 2}


async def test_bodies_beyond_the_bound_are_refused(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_module, "MOST_BYTES", 100_000)
    _, first = await scene.send(question(body=b"x" * 60_000))
    while scene.room.bytes < 60_000:
        await asyncio.sleep(0.005)
    reader, _ = await scene.send(question(stream=True, body=b"y" * 3_000_000))
    answer = await asyncio.wait_for(reader.read(), 10)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 10\r\n" in answer
    assert b'"cold_start_full"' in answer
    assert scene.room.waiting == {"a": 1}
    first.close()
    await scene.waiting(0)
    assert scene.room.bytes == 0
