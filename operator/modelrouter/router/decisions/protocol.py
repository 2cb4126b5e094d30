"""HTTP/1.1 for one peer, Envoy, at the least cost per request.

A bare asyncio protocol with httptools costs 13 to 17 µs of CPU a request where uvicorn costs 40
and a gRPC service 150 or more; this is on the path of every request, so it is written out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

Decide = Callable[[str, dict[str, str], bytes], bytes]
"""Path, lower-case headers and body of a request to the whole HTTP response for Envoy."""

HEALTH_PATH = "/healthz"
"""What Envoy's health check asks for."""

HEALTHY = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class DecisionProtocol(asyncio.Protocol):
    """One connection from Envoy, kept open for many requests."""

    __slots__ = ("_body", "_headers", "_parser", "_path", "_server", "_transport")

    def __init__(self, server: DecisionServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._reset()

    def _reset(self) -> None:
        self._path = ""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self._transport = None

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._give_up()

    def on_message_begin(self) -> None:
        self._reset()

    def on_url(self, url: bytes) -> None:
        # Comes in pieces when the kernel hands it over so.
        self._path += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        # Envoy sends names in lower case; repeated headers are one list, as in RFC 9110, 5.3.
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        earlier = self._headers.get(key)
        self._headers[key] = text if earlier is None else f"{earlier},{text}"

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._transport is None:
            return
        if self._path == HEALTH_PATH:
            self._transport.write(HEALTHY)
            self._server.is_known = True
            return
        parts = self._body
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        self._transport.write(self._server.decide(self._path, self._headers, body))

    def close(self) -> None:
        """End the connection; Envoy opens another if it needs one."""
        if self._transport is not None:
            self._transport.close()

    def _give_up(self) -> None:
        if self._transport is not None:
            self._transport.write(BAD_REQUEST)
            self._transport.close()


class DecisionServer:
    """Listens on a Unix socket and answers by `decide`."""

    def __init__(self, path: str, decide: Decide) -> None:
        self._path = path
        self.decide = decide
        self.connections: set[DecisionProtocol] = set()
        self.is_known = False
        """Whether Envoy has asked how this server is, and so sends its questions here."""
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Open the socket; an old one in the same place is replaced."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(
            lambda: DecisionProtocol(self), self._path, backlog=1024
        )

    async def stop(self) -> None:
        """Close the socket and all connections."""
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.close()
