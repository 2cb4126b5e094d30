"""HTTP/1.1 messages from Envoy, read as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import httptools

CHUNK = 64 * 1024
Header = tuple[bytes, bytes]

HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding",
     b"upgrade", b"expect")
)  # fmt: skip
"""Headers that are about one connection, and no part of what is passed on (RFC 9110, 7.6.1)."""


class BrokenOffError(Exception):
    """The peer went away, or spoke no HTTP, before its message was complete."""


class Message:
    """A request or a response on a connection that has no other."""

    def __init__(self, reader: asyncio.StreamReader, *, response: bool = False) -> None:
        self._reader = reader
        parser = httptools.HttpResponseParser if response else httptools.HttpRequestParser
        self._parser: Any = parser(self)
        self._parts: list[bytes] = []
        self._in_head = True
        self._complete = False
        self.target = b""
        """Path and query of a request."""
        self.headers: list[Header] = []
        """In their order, names in lower case."""

    # Called by the parser.

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # trailers come here, too
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._in_head = False

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        self._complete = True

    # Called by those who read.

    @property
    def status(self) -> int:
        """Of a response whose head has come."""
        return int(self._parser.get_status_code())

    @property
    def method(self) -> bytes:
        """Of a request whose head has come."""
        return bytes(self._parser.get_method())

    def header(self, name: bytes) -> str:
        """The first value of a header; empty without any."""
        return next((v.decode("latin-1") for n, v in self.headers if n == name), "")

    def end_to_end(self, *without: bytes) -> Iterable[Header]:
        """The headers that are passed on."""
        return (h for h in self.headers if h[0] not in HOP_BY_HOP and h[0] not in without)

    async def read_head(self) -> None:
        """Read up to the body. Raises `BrokenOffError`."""
        while self._in_head:
            await self._read()

    async def body(self) -> AsyncIterator[bytes]:
        """The parts of the body as they come. Raises `BrokenOffError`."""
        while True:
            parts, self._parts = self._parts, []
            for part in parts:
                yield part
            if self._complete:
                return
            await self._read()

    async def _read(self) -> None:
        try:
            data = await self._reader.read(CHUNK)
        except ConnectionError as error:
            raise BrokenOffError from error
        if not data:
            raise BrokenOffError
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise BrokenOffError from error
