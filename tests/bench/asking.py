"""Decisions at a steady rate: `python -m bench.asking SOCKET RATE SECONDS BODY MODELS`.

Asks the agent over its Unix socket as Envoy does, over as many connections as there are questions
at a time, and prints the latencies as one line of JSON.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import uvloop

from bench.processes import BenchError, module_environment

CONNECTIONS = 500
HEAD = (
    "POST /v1/chat/completions HTTP/1.1\r\nhost: agent\r\nx-request-id: {id}\r\n"
    "content-length: {length}\r\nx-envoy-internal: true\r\n"
    "x-envoy-expected-rq-timeout-ms: 1000\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class Latencies:
    """Of many decisions, in milliseconds."""

    count: int
    p50: float
    p99: float
    most: float

    @staticmethod
    def of(seconds: Sequence[float]) -> Latencies:
        """Quantiles of latencies in seconds."""
        ordered = [value * 1e3 for value in sorted(seconds)]
        count = len(ordered)
        return Latencies(count, ordered[count // 2], ordered[count * 99 // 100], ordered[-1])


def start(
    path: Path, rate: float, seconds: float, bodies: Sequence[bytes], directory: Path
) -> subprocess.Popen[str]:
    """Begin to ask, in a process of its own, with one body after the other."""
    file = directory / "questions.json"
    file.write_text(json.dumps([body.decode() for body in bodies]))
    command = [sys.executable, "-m", "bench.asking", str(path), str(rate), str(seconds), str(file)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env=module_environment(),
    )


def finish(asking: subprocess.Popen[str]) -> Latencies:
    """Wait for the end, and what was seen."""
    with asking:
        assert asking.stdout
        answer = asking.stdout.read()
    if asking.returncode:
        raise BenchError("decisions could not be asked for; see above")
    return Latencies.of(json.loads(answer))


class Connection(asyncio.Protocol):
    """One of Envoy's connections: a question at a time."""

    def __init__(self, answered: Callable[[Connection, float], None]) -> None:
        self._answered = answered
        self._asked = 0.0
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    async def ready(self, question: bytes) -> None:
        """Ask once without counting it: an agent that has 500 connections to accept at once
        answers late, and Envoy never opens as many."""
        told = asyncio.Event()
        count, self._answered = self._answered, lambda _connection, _took: told.set()
        self.ask(question)
        await told.wait()
        self._answered = count

    def ask(self, question: bytes) -> None:
        """Send a question."""
        self._answer = b""
        self._asked = time.perf_counter()
        self._transport.write(question)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if b"\r\n\r\n" in self._answer:
            took = time.perf_counter() - self._asked
            if not self._answer.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"the agent answered {self._answer[:300]!r}")
            self._answered(self, took)


async def ask(path: str, rate: float, seconds: float, bodies: Sequence[bytes]) -> list[float]:
    """Latencies of decisions, asked for at their time whether or not others are answered."""
    loop = asyncio.get_running_loop()
    idle: list[Connection] = []
    latencies: list[float] = []
    all_answered = asyncio.Event()
    count = int(rate * seconds)

    def answered(connection: Connection, took: float) -> None:
        idle.append(connection)
        latencies.append(took)
        if len(latencies) == count:
            all_answered.set()

    questions = itertools.cycle(bodies)
    for _ in range(CONNECTIONS):
        _, connection = await loop.create_unix_connection(lambda: Connection(answered), path)
        await connection.ready(_request(next(questions)))
        idle.append(connection)
    started = loop.time()
    for asked in range(count):
        await asyncio.sleep(max(started + asked / rate - loop.time(), 0))
        if not idle:
            raise SystemExit(f"bench: the agent leaves {CONNECTIONS} questions unanswered")
        idle.pop().ask(_request(next(questions)))
    await all_answered.wait()
    return latencies


def _request(body: bytes) -> bytes:
    head = HEAD.format(id=uuid.uuid4(), length=len(body))
    return head.encode() + body


def main() -> None:
    """Ask as the command line says."""
    path, rate, seconds, file = sys.argv[1:]
    bodies = [text.encode() for text in json.loads(Path(file).read_text())]
    gc.disable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(ask(path, float(rate), float(seconds), bodies))))


if __name__ == "__main__":
    main()
