"""Model servers that stream: `python -m bench.paced EVENTS MILLISECONDS PORT...`.

All are one process, so that what comes in between meets the same, whether it uses one or several.

Every event of a stream is written by itself, at its time. The events name the model that the
request asked for, so that it shows whether a proxy has renamed it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from functools import cache
from math import ceil
from typing import cast

import httptools
import uvloop

HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)
HEALTHY = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
END = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


@cache
def chunk(model: str, number: int) -> bytes:
    """One event, as a chunk of the response. No two are alike: LiteLLM ends streams that repeat."""
    event = {
        "id": "chatcmpl-7d5e0c6b9a",
        "object": "chat.completion.chunk",
        "created": 1760000000,
        "model": model,
        "choices": [{"index": 0, "delta": {"content": f" token {number}"}, "finish_reason": None}],
    }
    data = f"data: {json.dumps(event)}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


class Stream(asyncio.Protocol):
    """One connection."""

    def __init__(self, events: int, pause: float) -> None:
        self._events, self._pause = events, pause
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        body, self._body = self._body, b""
        if not body:
            self._transport.write(HEALTHY)
            return
        asked = json.loads(body)
        self._model = asked["model"]
        self._left = min(self._events, asked["max_tokens"])
        self._loop = asyncio.get_running_loop()
        self._transport.write(HEAD)
        # Steps are those of the engine and not of the stream.
        self._due = ceil(self._loop.time() / self._pause) * self._pause
        self._loop.call_at(self._due, self._write)

    def _write(self) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(chunk(self._model, self._left))
        self._left -= 1
        if not self._left:
            self._transport.write(END)
            return
        self._due += self._pause
        self._loop.call_at(self._due, self._write)


async def _serve(ports: Sequence[int], events: int, pause: float) -> None:
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(lambda: Stream(events, pause), "127.0.0.1", port) for port in ports
    ]
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as running:
        running.run(_serve([*map(int, sys.argv[3:])], int(sys.argv[1]), float(sys.argv[2]) / 1e3))
