"""Model servers that keep what they are sent, and answer as a test says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import httptools


@dataclass
class Request:
    """What a backend was sent."""

    method: str = ""
    path: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """The value of a header that comes at most once."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, values
        return values[0] if values else None


Behaviour = Callable[["Connection", Request], Awaitable[None] | None]


class Connection(asyncio.Protocol):
    """One connection to a backend, or of Envoy to the agent."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.request = Request()
        self.lost = asyncio.Event()
        self.tasks: set[asyncio.Future[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()
        self.server.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.request = Request()

    def on_url(self, url: bytes) -> None:
        self.request.path += url.decode()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.request.headers.append((name.decode().lower(), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        self.request.body += body

    def on_message_complete(self) -> None:
        self.request.method = self.parser.get_method().decode()
        self.server.requests.append(self.request)
        answering = self.server.behaviour(self, self.request)
        if answering is not None:
            task = asyncio.ensure_future(answering)
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    def answer(
        self, status: int = 200, body: bytes = b"{}", headers: dict[str, str] | None = None
    ) -> None:
        """Send a whole answer."""
        lines = {"content-type": "application/json", "content-length": str(len(body))}
        self.start(status, {**lines, **(headers or {})})
        self.transport.write(body)

    def start(self, status: int, headers: dict[str, str]) -> None:
        """Send the beginning of an answer."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode("latin-1"))


@dataclass
class Server:
    """A server in the rig's loop: a backend, or the agent."""

    behaviour: Behaviour
    requests: list[Request] = field(default_factory=list)
    connections: set[Connection] = field(default_factory=set)
    listening: asyncio.Server | None = None

    def connect(self) -> Connection:
        """A connection that somebody opens."""
        return Connection(self)

    async def close(self) -> None:
        """Refuse connections from now on, and break those that are open."""
        if self.listening is not None:
            self.listening.close()
        for connection in list(self.connections):
            connection.transport.abort()


@dataclass
class Backend(Server):
    """A model server."""

    name: str = ""
    port: int = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


def served_by(name: str) -> Behaviour:
    """Answers with the name of the backend."""

    def behave(connection: Connection, request: Request) -> None:
        if request.path == "/health":
            connection.answer()
            return
        body = json.dumps({"served_by": name, "usage": {"prompt_tokens": 3}})
        connection.answer(body=body.encode())

    return behave


def status(code: int, **headers: str) -> Behaviour:
    """Always answers with this status."""

    def behave(connection: Connection, request: Request) -> None:
        connection.answer(code, b'{"error":{}}', headers)

    return behave
