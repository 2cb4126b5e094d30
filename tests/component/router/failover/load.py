"""A load client that checks every answer: hundreds of requests a second for little CPU.

Requests leave at a fixed rate whatever happens to those before them, as they do when many people
use a router. Everything runs in a thread with an event loop of its own; tests sleep, break things,
and look at the samples meanwhile.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast

import httptools
import orjson
import uvloop

PATIENCE_SECONDS = 15.0
"""A request that takes longer has failed."""
MOST_CONNECTIONS = 800
TICK_SECONDS = 0.004
MANY = 520.0
"""Requests a second, where it is many that must not fail."""
ENDED = "the connection ended"
CLIENT_KEY = "the-clients-own-key"


@dataclass(frozen=True, slots=True)
class Sample:
    """One request and what became of it."""

    number: int
    wanted: str
    """The virtual model."""
    sent: float
    """When: `time.monotonic`."""
    ended: float
    status: int
    """0: there was no answer."""
    problem: str
    """Why it counts as failed; empty: it does not."""
    headers: Mapping[str, str]
    model: str
    """The model in the answer."""
    server: str
    """The label of the simulated server that answered; empty in streams."""

    @property
    def pool(self) -> str:
        return self.headers.get("x-mr-pool", "")

    @property
    def attempts(self) -> int:
        return int(self.headers.get("x-mr-attempts", "0"))

    @property
    def reason(self) -> str:
        return self.headers.get("x-mr-reason", "")

    @property
    def seconds(self) -> float:
        return self.ended - self.sent

    @property
    def is_cut(self) -> bool:
        """Whether a stream ended in the middle, which nothing can mend."""
        kind = self.headers.get("content-type", "")
        return self.problem.startswith(ENDED) and kind.startswith("text/event-stream")


@dataclass(slots=True)
class Call:
    """A request under way."""

    number: int
    wanted: str
    streamed: bool
    sent: float


class Connection(asyncio.Protocol):
    """One connection, used for one request at a time."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.call: Call | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def send(self, call: Call, content: bytes) -> None:
        self.call = call
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body: list[bytes] = []
        self.parser = httptools.HttpResponseParser(self)
        assert self.transport is not None
        self.transport.write(content)

    def data_received(self, data: bytes) -> None:
        if self.call is None:
            self.close()
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.give_up(f"broken answer: {error}")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self.body.append(body)

    def on_message_complete(self) -> None:
        call, self.call = self.call, None
        if call is None:
            return
        self.load.finished(call, self.parser.get_status_code(), self.headers, b"".join(self.body))
        if self.parser.should_keep_alive():
            self.load.idle.append(self)
        else:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.load.forget(self)
        self.give_up(f"{ENDED}: {exc or 'closed'}")

    def give_up(self, problem: str) -> None:
        call, self.call = self.call, None
        if call is not None:
            self.load.failed(call, problem, self.headers)
        self.close()

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class Load:
    """Chat requests at a rate, for as long as the context lasts.

    `models` are asked for in turn; every `stream_every`-th request wants its answer streamed.
    """

    def __init__(
        self,
        port: int,
        models: Sequence[str] = ("assistant",),
        *,
        rate: float = 200,
        stream_every: int = 10,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.samples: list[Sample] = []
        self.idle: list[Connection] = []
        self._connections: set[Connection] = set()
        self._calls: set[Connection] = set()
        self._port, self._models, self._rate = port, models, rate
        self._stream_every = stream_every
        lines = {"authorization": f"Bearer {CLIENT_KEY}", **(headers or {})}
        self._lines = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._number = 0
        self._opening = 0
        self._begun = self._over = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    # What tests use

    def __enter__(self) -> Self:
        self._begun = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Send nothing more, and wait for what is under way."""
        if not self._stopping.is_set():
            self._over = time.monotonic()
            self._stopping.set()
        self._thread.join(PATIENCE_SECONDS + 5)
        assert not self._thread.is_alive()

    @property
    def failures(self) -> list[Sample]:
        return [sample for sample in list(self.samples) if sample.problem]

    @property
    def rate(self) -> float:
        """Requests a second that were reached."""
        return len(self.samples) / max((self._over or time.monotonic()) - self._begun, 0.001)

    def since(self, moment: float, until: float = float("inf")) -> list[Sample]:
        """Samples of requests sent between these moments of `time.monotonic`."""
        return [sample for sample in list(self.samples) if moment <= sample.sent < until]

    def pools(self, moment: float, until: float = float("inf")) -> Counter[str]:
        """How many requests sent since then each pool answered."""
        return Counter(sample.pool for sample in self.since(moment, until) if not sample.problem)

    def is_served_by(self, pool: str, moment: float, until: float = float("inf")) -> bool:
        """Whether this pool answers what was sent since then, or nine in ten of it.

        A server that gets no processor for a second, as others start, is passed over; rightly.
        """
        pools = self.pools(moment, until)
        return pools[pool] > 0.9 * sum(pools.values())

    def first(self, found: Callable[[Sample], bool], since: float, timeout: float = 10.0) -> Sample:
        """The first sample sent since then for which it holds; waits for it."""
        deadline = time.monotonic() + timeout
        start = 0
        while time.monotonic() < deadline:
            samples = self.samples
            end = len(samples)
            for index in range(start, end):
                if samples[index].sent >= since and found(samples[index]):
                    return samples[index]
            start = end
            time.sleep(0.005)
        raise AssertionError(f"no such answer in {timeout} s: {self.story(since)}")

    def story(self, since: float = 0.0) -> str:
        """What happened, for people."""
        samples = self.since(since)
        took = sorted(sample.seconds for sample in samples) or [0.0]
        attempts = Counter(sample.attempts for sample in samples)
        return (
            f"{len(samples)} requests, {self.rate:.0f}/s, "
            f"{sum(1 for sample in samples if sample.problem)} failed, "
            f"pools {dict(Counter(sample.pool for sample in samples))}, "
            f"attempts {dict(sorted(attempts.items()))}, p50 {took[len(took) // 2] * 1e3:.1f} ms, "
            f"p99 {took[int(len(took) * 0.99)] * 1e3:.1f} ms, max {took[-1] * 1e3:.0f} ms"
        )

    def assert_none_failed(self, *, cut_streams: int = 0) -> None:
        """No request failed, but for so many streams that a dying server was in the middle of."""
        cut = [sample for sample in self.failures if sample.is_cut]
        failures = [s for s in self.failures if not s.is_cut or len(cut) > cut_streams]
        kinds = Counter((sample.status, sample.problem[:300]) for sample in failures)
        assert not failures, f"{self.story()}; {kinds.most_common(5)}; first: {failures[0]}"

    # The thread

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._send_until_stopped())

    async def _send_until_stopped(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        checked = started = time.monotonic()
        while not self._stopping.is_set():
            now = time.monotonic()
            for _ in range(min(int((now - started) * self._rate) - self._number, 200)):
                self._send_one()
            if now - checked > 0.5:
                checked = now
                self._check_patience(now)
            await asyncio.sleep(TICK_SECONDS)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (self._calls_open() or self._opening) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
            self._check_patience(time.monotonic())
        for connection in list(self._connections):
            connection.give_up("no answer in time")
        await asyncio.sleep(0)

    def _calls_open(self) -> bool:
        return any(connection.call is not None for connection in self._connections)

    def _check_patience(self, now: float) -> None:
        for connection in list(self._connections):
            call = connection.call
            if call is not None and now - call.sent > PATIENCE_SECONDS:
                connection.give_up("no answer in time")

    def _send_one(self) -> None:
        while self.idle:
            connection = self.idle.pop()
            if connection.transport is not None and not connection.transport.is_closing():
                call = self._next_call()
                connection.send(call, self._content(call))
                return
        if len(self._connections) + self._opening < MOST_CONNECTIONS:
            self._opening += 1
            task = self._loop.create_task(self._open(self._next_call()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _next_call(self) -> Call:
        self._number += 1
        number = self._number
        wanted = self._models[number % len(self._models)]
        streamed = bool(self._stream_every) and number % self._stream_every == 0
        return Call(number, wanted, streamed, time.monotonic())

    async def _open(self, call: Call) -> None:
        try:
            _, connection = await self._loop.create_connection(
                lambda: Connection(self), "127.0.0.1", self._port
            )
        except OSError as error:
            self.failed(call, f"no connection: {error.strerror}", {})
            return
        finally:
            self._opening -= 1
        self._connections.add(connection)
        if connection.transport is None:
            self.failed(call, f"{ENDED} at once", {})
        else:
            connection.send(call, self._content(call))

    def _content(self, call: Call) -> bytes:
        body: dict[str, Any] = {
            "model": call.wanted,
            "messages": [{"role": "user", "content": f"request {call.number}"}],
            "max_tokens": 2,
            "temperature": 0.5,
        }
        if call.streamed:
            body["stream"] = True
        content = orjson.dumps(body)
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nhost: router\r\n"
            f"content-type: application/json\r\n{self._lines}"
            f"content-length: {len(content)}\r\n\r\n"
        )
        return head.encode() + content

    def forget(self, connection: Connection) -> None:
        self._connections.discard(connection)

    def failed(self, call: Call, problem: str, headers: Mapping[str, str]) -> None:
        now = time.monotonic()
        self.samples.append(
            Sample(call.number, call.wanted, call.sent, now, 0, problem, headers, "", "")
        )

    def finished(self, call: Call, status: int, headers: Mapping[str, str], body: bytes) -> None:
        now = time.monotonic()
        model, server, problem = read_answer(call.streamed, status, headers, body)
        self.samples.append(
            Sample(
                call.number, call.wanted, call.sent, now, status, problem, headers, model, server
            )
        )


def read_answer(
    streamed: bool, status: int, headers: Mapping[str, str], body: bytes
) -> tuple[str, str, str]:
    """The model and the server in an answer, and what is wrong with it."""
    if status != 200:
        return "", "", f"status {status}: {body[:300].decode('utf-8', 'replace')}"
    if not headers.get("x-mr-pool"):
        return "", "", "no x-mr-pool"
    try:
        if not streamed:
            answer = orjson.loads(body)
            content = answer["choices"][0]["message"]["content"]
            usage = answer["usage"]["completion_tokens"]
            problem = "" if content and usage else f"incomplete: {body[:300]!r}"
            return answer["model"], answer.get("system_fingerprint") or "", problem
        events = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: ")]
        if events[-1].strip() != b"[DONE]":
            return "", "", f"the stream is incomplete: {body[-200:]!r}"
        chunks = [orjson.loads(event) for event in events[:-1]]
        text = "".join(
            choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]
        )
        return chunks[0]["model"], "", "" if text else f"an empty stream: {body[:300]!r}"
    except (ValueError, KeyError, IndexError, TypeError) as error:
        return "", "", f"unreadable answer ({error!r}): {body[:300]!r}"
