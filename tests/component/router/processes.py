"""Starting processes, and asking them over HTTP."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parents[3] / "operator"
START_SECONDS = 30.0


def launch(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a process that writes to this log."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
        )


def wait_until(
    arrived: Callable[[], bool], process: subprocess.Popen[bytes] | None, log: Path
) -> None:
    """Wait for a process to come up; its log is the error if it does not."""
    deadline = time.monotonic() + START_SECONDS
    while not arrived():
        assert process is not None
        assert process.poll() is None, f"it ended: {log.read_text()}"
        assert time.monotonic() < deadline, f"it does not come up: {log.read_text()}"
        time.sleep(0.02)


async def ask(
    port: int, method: str, path: str, value: object = None, ok: Sequence[int] = (200,)
) -> Any:
    """Ask a control server; in a thread of its own, so that running traffic is not held up."""

    def exchange() -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
        try:
            connection.request(method, path, None if value is None else json.dumps(value))
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        assert answer.status in ok, f"{method} {path}: {answer.status} {content[:500]!r}"
        kind = answer.headers.get("content-type") or ""
        return json.loads(content) if kind.startswith("application/json") else content.decode()

    return await asyncio.to_thread(exchange)


async def eventually(check: Callable[[], Any], *, within: float = 5.0, every: float = 0.05) -> Any:
    """Wait until a check, which may be a coroutine function, holds; return what it returned."""
    deadline = time.monotonic() + within
    while True:
        result = check()
        if asyncio.iscoroutine(result):
            result = await result
        if result:
            return result
        assert time.monotonic() < deadline, f"still {result!r} after {within} s"
        await asyncio.sleep(every)
