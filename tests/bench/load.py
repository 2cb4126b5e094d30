"""The load generator, a process of its own: `python -m bench.load`, steered over its pipes.

A closed loop: every connection sends its next request when the last one has been answered. The
first line on standard input describes the load; the generator connects, settles, prints `ready`,
waits for another line, runs, and prints what it saw as one line of JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import httptools
import uvloop

PATH = "/v1/chat/completions"
# What OpenAI's Python client sends.
HEADERS = (
    "accept: application/json\r\ncontent-type: application/json\r\n"
    "user-agent: OpenAI/Python 3.54.0\r\n"
    "x-stainless-lang: python\r\nx-stainless-package-version: 3.54.0\r\nx-stainless-os: Linux\r\n"
    "x-stainless-arch: x64\r\nx-stainless-runtime: CPython\r\n"
    "x-stainless-runtime-version: 3.11.7\r\nx-stainless-async: false\r\n"
    "x-stainless-retry-count: 0\r\nx-stainless-read-timeout: 600\r\n"
)
EVENT, LAST_EVENT = b" token", b"data: [DONE]"
"""What every event adds to the text. A proxy may join events, but must not lose any."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to send."""

    port: int
    key: str
    """The client's API key."""
    body_file: str
    settling_file: str
    """A request that every connection sends once before anything is counted, with one event where
    answers are streamed: connections last much longer than this, so what it takes to make them is
    no part of what a request costs."""
    connections: int
    seconds: float
    """For how long requests begin."""
    events: int = 0
    """Events that a streamed answer has to have; 0: answers are not streamed."""
    longest: float = 60.0
    """Seconds after which whatever is not answered has failed."""


@dataclass(slots=True)
class Seen:
    """What came back."""

    requests: int = 0
    failures: int = 0
    failure: str = ""
    """What the first failure was."""
    seconds: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    cpu_seconds: float = 0.0
    """Of the generator itself."""


class Run:
    """The state that all connections share."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.request = b""
        self.events = 0
        self.until = 0.0
        self.latencies: list[float] = []
        self.failures: list[str] = []
        self.open = 0
        self.ended = asyncio.Event()

    async def send(
        self, clients: Sequence[Connection], body_file: str, events: int, seconds: float
    ) -> None:
        """Send this body on all connections, for so long, and wait for the answers."""
        body = Path(body_file).read_bytes()
        head = (
            f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1:{self.load.port}\r\n{HEADERS}"
            f"authorization: Bearer {self.load.key}\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        self.request, self.events = head.encode() + body, events
        self.open = len(clients)
        self.ended.clear()
        self.until = time.perf_counter() + seconds
        for client in clients:
            client.send()
        try:
            await asyncio.wait_for(self.ended.wait(), seconds + self.load.longest)
        except TimeoutError:
            self.fail(f"{self.open} requests unanswered after {self.load.longest:.0f} s")

    def fail(self, why: str) -> None:
        """Count a request that went wrong."""
        self.failures.append(why)


class Connection(asyncio.Protocol):
    """One client, kept alive, one request at a time."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._waiting = False
        self._sent = 0.0
        if run.load.events:
            self._parts: list[bytes] = []
            self.on_body = self._parts.append
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting:
            self._run.fail(f"the connection was closed: {exc}")
            self._end()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def send(self) -> None:
        """Send the next request."""
        assert self._transport is not None
        self._waiting = True
        self._sent = time.perf_counter()
        self._transport.write(self._run.request)

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        run = self._run
        run.latencies.append(now - self._sent)
        self._waiting = False
        status = self._parser.get_status_code()
        if status != 200:
            run.fail(f"status {status}")
        elif run.load.events:
            self._check_events()
        if now >= run.until or len(run.failures) > 100:
            self._end()
        elif self._parser.should_keep_alive():
            self.send()
        else:
            run.fail("the server does not keep the connection")
            self._end()

    def _check_events(self) -> None:
        answer = b"".join(self._parts)
        self._parts.clear()
        events = answer.count(EVENT)
        if events < self._run.events or LAST_EVENT not in answer:
            self._run.fail(f"{events} events instead of {self._run.events}")

    def _end(self) -> None:
        self._waiting = False
        run = self._run
        run.open -= 1
        if not run.open:
            run.ended.set()


async def _generate(load: Load) -> Seen:
    run = Run(load)
    loop = asyncio.get_running_loop()
    clients = []
    for _ in range(load.connections):
        _, client = await loop.create_connection(lambda: Connection(run), "127.0.0.1", load.port)
        clients.append(client)
    await run.send(clients, load.settling_file, min(load.events, 1), 0.0)
    run.latencies.clear()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    gc.collect()
    gc.freeze()
    cpu, started = time.process_time(), time.perf_counter()
    await run.send(clients, load.body_file, load.events, load.seconds)
    took = time.perf_counter() - started
    latencies = sorted(run.latencies) or [0.0]
    return Seen(
        requests=len(run.latencies),
        failures=len(run.failures),
        failure=next(iter(run.failures), ""),
        seconds=took,
        p50_ms=latencies[len(latencies) // 2] * 1e3,
        p99_ms=latencies[len(latencies) * 99 // 100] * 1e3,
        cpu_seconds=time.process_time() - cpu,
    )


def main() -> None:
    """Run the load that standard input describes."""
    load = Load(**json.loads(sys.stdin.readline()))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(asdict(runner.run(_generate(load)))), flush=True)


if __name__ == "__main__":
    main()
