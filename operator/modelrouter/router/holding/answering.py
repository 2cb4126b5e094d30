"""What Envoy, and so the client, is told while a request waits and after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus

from modelrouter.policy.refusal import Refusal
from modelrouter.router.holding.asking import head
from modelrouter.router.holding.events import (
    DONE,
    WAITING,
    error_event,
    is_event_stream,
    whole_events,
)
from modelrouter.router.holding.messages import BrokenOffError, Header, Message
from modelrouter.router.holding.tickets import AGAIN_HEADER

CLOSE: Header = (b"connection", b"close")
CHUNKED: Header = (b"transfer-encoding", b"chunked")
MOST_ERROR_BYTES = 64 * 1024
BROKEN = Refusal(
    502,
    "The model's server failed in the middle of the answer. Please try again.",
    type="server_error",
    code="stream_broken",
)
_STREAM_HEAD: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    CHUNKED,
    CLOSE,
)


class Answering:
    """The answer to one request, whole or as it comes."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def begin(self) -> None:
        """The client waits from now on."""

    async def keep_alive(self) -> None:
        """The client has waited for a while."""

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with an error."""
        body = refusal.body()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            CLOSE,
        ]
        if refusal.retry_after is not None:
            headers.append((b"retry-after", str(refusal.retry_after).encode()))
        self._writer.write(head(_status_line(refusal.status), headers) + body)
        await self._writer.drain()

    async def pass_on(self, answer: Message) -> bool:
        """Give an answer as it comes; whether it came to its end. Raises `BrokenOffError` where
        it breaks off and there is no way to say so."""
        sized = bool(answer.header(b"content-length"))
        headers = [*answer.end_to_end(AGAIN_HEADER.encode()), CLOSE]
        if not sized:
            headers.append(CHUNKED)
        self._writer.write(head(_status_line(answer.status), headers))
        async for part in answer.body():
            self._writer.write(part if sized else chunk(part))
            await self._writer.drain()
        if not sized:
            await self._end()
        return True

    async def _relay(self, answer: Message) -> bool:
        """Give a stream's events as they come, and an error if it breaks off; whether it came to
        its end."""
        whole, last = True, b""
        try:
            async for events in whole_events(answer.body()):
                last = events
                await self._send(events)
        except BrokenOffError:
            # All has been said where only the end of the message is missing.
            whole = last.endswith(DONE)
            if not whole:
                await self._send(error_event(BROKEN.status, BROKEN.body()))
        await self._end()
        return whole

    async def _send(self, part: bytes) -> None:
        self._writer.write(chunk(part))
        await self._writer.drain()

    async def _end(self) -> None:
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()


class GuardedAnswering(Answering):
    """To a client that is told if the stream breaks that it asked for."""

    async def pass_on(self, answer: Message) -> bool:
        if not is_event_stream(answer.header(b"content-type")):
            return await super().pass_on(answer)
        headers = [*answer.end_to_end(), CHUNKED, CLOSE]
        self._writer.write(head(_status_line(answer.status), headers))
        return await self._relay(answer)


class StreamAnswering(Answering):
    """To a client that asked for a stream: it begins at once, so errors are events in it."""

    def __init__(self, writer: asyncio.StreamWriter, pool: str) -> None:
        super().__init__(writer)
        self._pool = pool

    async def begin(self) -> None:
        headers = [*_STREAM_HEAD, (b"x-mr-pool", self._pool.encode("latin-1"))]
        self._writer.write(head(_status_line(200), headers))
        await self.keep_alive()

    async def keep_alive(self) -> None:
        await self._send(WAITING)

    async def refuse(self, refusal: Refusal) -> None:
        await self._send(error_event(refusal.status, refusal.body()))
        await self._end()

    async def pass_on(self, answer: Message) -> bool:
        if answer.status == 200 and is_event_stream(answer.header(b"content-type")):
            return await self._relay(answer)
        body = await _beginning(answer.body())
        await self._send(error_event(answer.status, body))
        await self._end()
        return True


def chunk(part: bytes) -> bytes:
    """A piece of a body whose length is not known."""
    return b"%x\r\n%b\r\n" % (len(part), part)


def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    return f"HTTP/1.1 {status} {phrase}".encode()


async def _beginning(parts: AsyncIterator[bytes]) -> bytes:
    found = b""
    async for part in parts:
        if len(found) < MOST_ERROR_BYTES:
            found += part
    return found
