"""What is measured: bodies, connections and streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import bodies
from bench.load import Load
from bench.systems import CLIENT_KEY, MODEL, STREAMED_MODEL, System

EVENTS, PAUSE_MS, STREAMS = 200, 10.0, 64


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of load."""

    name: str
    kilobytes: int
    connections: int
    model_last: bool = False
    streamed: bool = False
    tools: bool = False

    @property
    def body(self) -> bytes:
        """The request body."""
        model = STREAMED_MODEL if self.streamed else MODEL
        size = self.kilobytes * 1024
        return bodies.chat(
            model, size, model_last=self.model_last, stream=self.streamed, tools=self.tools
        )

    @property
    def units(self) -> str:
        """What the cost is divided by."""
        return "event" if self.streamed else "request"

    def load(self, system: System, body: Path, seconds: float) -> Load:
        """The load on a system."""
        if self.streamed:
            return Load(system.streamed_port, CLIENT_KEY, str(body), self.connections, 0.0, EVENTS)
        return Load(system.port, CLIENT_KEY, str(body), self.connections, seconds)


def _requests(
    kilobytes: int, connections: int, *, model_last: bool = False, tools: bool = False
) -> Scenario:
    plural = "connection" if connections == 1 else "connections"
    kind = ", model last" if model_last else ", with tools" if tools else ""
    name = f"{kilobytes} KB{kind}, {connections} {plural}"
    return Scenario(name, kilobytes, connections, model_last, tools=tools)


STREAMING = Scenario(f"{STREAMS} streams of {EVENTS} events", 1, STREAMS, streamed=True)
ALL: Sequence[Scenario] = (
    *(_requests(size, connections) for connections in (32, 1) for size in (1, 16, 100)),
    *(_requests(100, connections, model_last=True) for connections in (32, 1)),
    _requests(1, 32, tools=True),
    STREAMING,
)
QUICK: Sequence[Scenario] = (_requests(1, 32), _requests(100, 1), STREAMING)
