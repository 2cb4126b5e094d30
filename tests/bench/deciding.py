"""How long Envoy waits for a decision, asked for over the agent's Unix socket."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench import asking, bodies
from bench.asking import Latencies
from bench.processes import BenchError, Program, family, module_environment
from bench.replacing import Replacements, replace_under_load
from bench.systems import MODEL, Backends, System
from modelrouter.router.decisions.protocol import DecisionServer


@dataclass(frozen=True, slots=True)
class Decisions:
    """All that was measured of decisions."""

    rate: float
    """Decisions per second."""
    floor: Latencies
    """The same questions to a server that answers without looking at them."""
    steady: Latencies
    replacing: Replacements


def measure_decisions(
    systems: Sequence[System],
    backends: Backends,
    directory: Path,
    *,
    rate: float,
    seconds: float,
    routes: int,
) -> Decisions:
    """Decisions of the running router, and of an agent whose routes are all replaced."""
    program = next(s.program for s in systems if s.renames and s.program)
    question = [bodies.chat(MODEL, 1024)]
    empty = directory / "empty.sock"
    command = [sys.executable, "-m", "bench.deciding", str(empty)]
    with Program("empty", command, directory / "empty.log", module_environment()) as server:
        server.wait_until(empty.exists, "its start")
        floor = asking.finish(asking.start(empty, rate, seconds, question, directory))
    steady = asking.finish(asking.start(_socket(program), rate, seconds, question, directory))
    replacing = replace_under_load(directory, backends.fixed[0], routes, rate, seconds)
    return Decisions(rate, floor, steady, replacing)


def _socket(router: Program) -> Path:
    """Where the agent of a running router answers."""
    for pid in family(router.pid):
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        if "--runtime-dir" in words:
            return Path(words[words.index("--runtime-dir") + 1]) / "decide.sock"
    raise BenchError("the router has no agent")


async def _answer_blindly(path: str) -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    await DecisionServer(path, lambda _path, _headers, _body: answer).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_answer_blindly(sys.argv[1]))
