"""Sending a request to Envoy again, once its pool is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from modelrouter.router.holding.messages import BrokenOffError, Header, Message


@dataclass(frozen=True, slots=True)
class Request:
    """What the client sent."""

    method: bytes
    target: bytes
    headers: tuple[Header, ...]
    body: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that Envoy has answered, or begun to."""

    answer: Message
    """Its head has come."""
    writer: asyncio.StreamWriter

    def close(self) -> None:
        """End the exchange, whatever is still to come."""
        self.writer.transport.abort()


async def ask(socket: str, request: Request) -> Asked:
    """Send a request. Raises `BrokenOffError`."""
    try:
        reader, writer = await asyncio.open_unix_connection(socket)
    except OSError as error:
        raise BrokenOffError from error
    answer = Message(reader, response=True)
    try:
        with suppress(ConnectionError):  # an answer may come before all has been read
            await _send(request, writer)
        await answer.read_head()
    except BaseException:
        writer.transport.abort()
        raise
    return Asked(answer, writer)


async def _send(request: Request, writer: asyncio.StreamWriter) -> None:
    size = str(sum(map(len, request.body))).encode()
    first = b"%b %b HTTP/1.1" % (request.method, request.target)
    writer.write(head(first, (*request.headers, (b"content-length", size))))
    for part in request.body:
        writer.write(part)
        await writer.drain()


def head(first: bytes, headers: Iterable[Header]) -> bytes:
    """First line and headers of a message."""
    lines = [first, *(b"%b: %b" % header for header in headers), b"", b""]
    return b"\r\n".join(lines)
