"""Systems measured in turns, so that a machine that gets slower or busier does so for all."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.driving import Measurement, measure
from bench.scenarios import EVENTS, Scenario
from bench.systems import PLAIN, Field, System

QUIET_CORES = 0.3
"""A round in which more than this was busy with other work is repeated, but not for ever."""

Round = dict[str, Measurement]
"""A turn of each system, by its name."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some values, and the least and the greatest."""

    median: float
    least: float
    most: float

    @staticmethod
    def of(values: Iterable[float]) -> Spread:
        """The spread of at least one value."""
        ordered = sorted(values)
        return Spread(statistics.median(ordered), ordered[0], ordered[-1])


@dataclass(frozen=True, slots=True)
class Outcome:
    """The rounds of one scenario that count."""

    scenario: Scenario
    rounds: Sequence[Round]
    failures: Sequence[str]
    """A line for each system with failed requests, in any round."""

    @property
    def systems(self) -> list[str]:
        """All that were measured."""
        return list(self.rounds[0])

    def _runs(self, system: str) -> list[Measurement]:
        return [turn[system] for turn in self.rounds]

    def units(self, run: Measurement) -> int:
        """Requests, or events, that the cost of a run is divided by."""
        return run.seen.requests * (EVENTS if self.scenario.streamed else 1)

    def cost(self, system: str, process: str = "") -> float:
        """Microseconds of CPU per request or event: of one process, or of all."""
        return statistics.median(self._cost(run, process) for run in self._runs(system))

    def _cost(self, run: Measurement, process: str = "") -> float:
        seconds = run.cpu.get(process, 0.0) if process else run.cpu_total
        return seconds / max(self.units(run), 1) * 1e6

    def processes(self, system: str) -> list[str]:
        """Names of the system's processes."""
        return sorted({name for run in self._runs(system) for name in run.cpu})

    def cost_ratio(self, system: str, to: str = PLAIN) -> Spread:
        """CPU per request over that of another system in the same round."""
        return self._ratio(system, to, self._cost)

    def p50_ratio(self, system: str, to: str = PLAIN) -> Spread:
        """Median latency over that of another system in the same round."""
        return self._ratio(system, to, lambda run: run.seen.p50_ms)

    def _ratio(self, system: str, to: str, value: Callable[[Measurement], float]) -> Spread:
        return Spread.of(value(turn[system]) / max(value(turn[to]), 1e-9) for turn in self.rounds)

    def median(self, system: str, value: Callable[[Measurement], float]) -> float:
        """Median over the rounds of anything measured."""
        return statistics.median(value(run) for run in self._runs(system))

    def asked(self, system: str) -> float:
        """Share of the requests that the agent was asked about."""
        return self.median(system, lambda run: run.decisions / max(run.seen.requests, 1))

    @property
    def foreign_cores(self) -> float:
        """Cores that were busy with other work, on average."""
        return statistics.fmean(foreign_cores(turn) for turn in self.rounds)


def compare(
    scenarios: Sequence[Scenario],
    competing: Field,
    rounds: int,
    seconds: float,
    *,
    most_rounds: int | None = None,
) -> list[Outcome]:
    """Measure every scenario on every system.

    Streams get twice the rounds, for their bound is the tightest. `most_rounds`: with those that
    are repeated; by default twice as many.
    """
    outcomes = []
    with tempfile.TemporaryDirectory() as directory:
        body, settling = Path(directory) / "body.json", Path(directory) / "settling.json"
        for number, scenario in enumerate(scenarios, 1):
            print(f"[{number}/{len(scenarios)}] {scenario.name}", file=sys.stderr)
            body.write_bytes(scenario.body)
            settling.write_bytes(scenario.settling_body)
            wanted = 2 * rounds if scenario.streamed else rounds
            most = most_rounds or 2 * wanted
            turns: list[Round] = []
            warm: set[System] = set()
            while _quiet(turns) < wanted and len(turns) < most:
                with competing.turn() as systems:
                    everything = list(competing.programs(systems))
                    for system in systems:
                        if system not in warm:
                            load = scenario.warming(system, settling, seconds)
                            measure(system, load, everything)
                            warm.add(system)
                    turns.append(
                        {
                            system.name: measure(
                                system, scenario.load(system, body, settling, seconds), everything
                            )
                            for system in systems
                        }
                    )
            kept = sorted(turns, key=foreign_cores)[:wanted]
            outcomes.append(Outcome(scenario, kept, _failures(scenario, turns)))
    return outcomes


def foreign_cores(turn: Round) -> float:
    """Cores that were busy with other work in a round."""
    return statistics.fmean(run.foreign_cores for run in turn.values())


def _quiet(turns: Sequence[Round]) -> int:
    return sum(foreign_cores(turn) < QUIET_CORES for turn in turns)


def _failures(scenario: Scenario, turns: Sequence[Round]) -> list[str]:
    lines = []
    for system in turns[0]:
        failed = [turn[system].seen for turn in turns if turn[system].seen.failures]
        if failed:
            count = sum(seen.failures for seen in failed)
            lines.append(f"{scenario.name}, {system}: {count} failed: {failed[0].failure}")
    return lines
