"""Decisions at a steady rate: `python -m bench.asking SOCKET RATE SECONDS BODY MODELS`.

Asks the agent over its Unix socket as Envoy does and prints the latencies as one line of JSON. A
question that waits because the answer before it is late counts from when it was due.
"""

from __future__ import annotations

import gc
import json
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.processes import module_environment

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
    return Latencies.of(json.loads(answer))


def ask(path: str, rate: float, seconds: float, bodies: Sequence[bytes]) -> list[float]:
    """Latencies of decisions asked for one after the other."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(path)
        latencies: list[float] = []
        due = time.perf_counter() + 0.05
        until = due + seconds
        number = 0
        while due < until:
            body = bodies[number % len(bodies)]
            number += 1
            head = HEAD.format(id=uuid.uuid4(), length=len(body))
            question = head.encode() + body
            now = time.perf_counter()
            if now < due:
                time.sleep(due - now)
                # A sleep that lasted too long is not the agent's fault.
                due = time.perf_counter()
            connection.sendall(question)
            answer = connection.recv(65536)
            while b"\r\n\r\n" not in answer:
                answer += connection.recv(65536)
            latencies.append(time.perf_counter() - due)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"the agent answered {answer[:300]!r}")
            due += 1 / rate
        return latencies


def main() -> None:
    """Ask as the command line says."""
    path, rate, seconds, file = sys.argv[1:]
    bodies = [text.encode() for text in json.loads(Path(file).read_text())]
    gc.disable()
    print(json.dumps(ask(path, float(rate), float(seconds), bodies)))


if __name__ == "__main__":
    main()
