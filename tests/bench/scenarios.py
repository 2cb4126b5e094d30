"""What is measured: bodies, connections and streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench import bodies
from bench.load import Load
from bench.systems import CLIENT_KEY, MODEL, STREAMED_MODEL, System

EVENTS, PAUSE_MS, STREAMS = 200, 10.0, 64
STREAMING_SECONDS = 3.0
"""In which streams begin, for each second of other load. A stream takes two, so whoever keeps up
has two in a row."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of load."""

    name: str
    kilobytes: int
    connections: int
    model_last: bool = False
    streamed: bool = False
    tools: bool = False
    max_tokens: int = 512

    @property
    def body(self) -> bytes:
        """The request body."""
        model = STREAMED_MODEL if self.streamed else MODEL
        size = self.kilobytes * 1024
        return bodies.chat(
            model,
            size,
            model_last=self.model_last,
            stream=self.streamed,
            tools=self.tools,
            max_tokens=self.max_tokens,
        )

    @property
    def settling_body(self) -> bytes:
        """The body of what connections send before anything is counted."""
        short = replace(self, max_tokens=1) if self.streamed else self
        return short.body

    @property
    def units(self) -> str:
        """What the cost is divided by."""
        return "event" if self.streamed else "request"

    def load(self, system: System, body: Path, settling: Path, seconds: float) -> Load:
        """The load on a system."""
        if self.streamed:
            port, seconds, events = system.streamed_port, STREAMING_SECONDS * seconds, EVENTS
        else:
            port, events = system.port, 0
        return Load(port, CLIENT_KEY, str(body), str(settling), self.connections, seconds, events)

    def warming(self, system: System, settling: Path, seconds: float) -> Load:
        """What a system gets before it is measured for the first time."""
        load = self.load(system, settling, settling, seconds)
        return replace(load, seconds=seconds, events=min(load.events, 1))


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
QUICK: Sequence[Scenario] = (_requests(1, 1), STREAMING)
