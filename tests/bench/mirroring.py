"""`python -m bench.mirroring`: what callers wait for while all of their requests are copied.

The same router serves the same pool under three names: without a mirror, with one at 100 %, and
with one whose answers are compared. They take turns, so that a machine that gets slower does so for
all; a ratio is computed within one round.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from bench import bodies
from bench.comparing import QUIET_CORES, Spread, foreign_cores
from bench.driving import Measurement, measure
from bench.envoys import answering_envoy
from bench.load import Load, Seen
from bench.machine import machine
from bench.processes import BenchError, Program
from bench.sections import MIRRORS, write_section
from bench.systems import CLIENT_KEY, System, answers
from bench.tables import table
from modelrouter.standalone.ports import free_port

WITHOUT, MIRRORED, COMPARED, DEAD = "without", "mirrored", "compared", "dead"
NAMES = {
    MIRRORED: "all copied",
    COMPARED: "all copied and compared",
    DEAD: "all copied to a dead pool",
}
MOST_P99 = 1.05
BODY_KILOBYTES = 4

_MANIFESTS = """\
apiVersion: modelrouter.dev/v1alpha1
kind: ModelPool
metadata: {{name: stable}}
spec: {{model: acme/stable, endpoints: ["127.0.0.1:{stable}"]}}
---
apiVersion: modelrouter.dev/v1alpha1
kind: ModelPool
metadata: {{name: candidate}}
spec: {{model: acme/candidate, endpoints: ["127.0.0.1:{candidate}"]}}
---
apiVersion: modelrouter.dev/v1alpha1
kind: ModelPool
metadata: {{name: gone}}
spec: {{model: acme/gone, endpoints: ["127.0.0.1:{gone}"]}}
"""
_ROUTE = """\
---
apiVersion: modelrouter.dev/v1alpha1
kind: ModelRoute
metadata: {{name: {name}}}
spec:
  models: [{name}]
  pools: [stable, candidate, gone]
  failover: [stable]
  {mirror}
"""
_MIRRORS = {
    WITHOUT: "",
    MIRRORED: "mirror: {pool: candidate}",
    COMPARED: "mirror: {pool: candidate, compare: true}",
    DEAD: "mirror: {pool: gone}",
}


@dataclass(frozen=True, slots=True)
class Scenario:
    """A load, and how long the model takes."""

    name: str
    delay_ms: int
    connections: int
    bounded: bool
    """Whether the bound is about it: a model that takes no time is there to show the cost."""


SCENARIOS = (
    Scenario("answers after 80 to 120 ms, 16 connections", 80, 16, bounded=True),
    Scenario("answers after 40 to 60 ms, 16 connections", 40, 16, bounded=True),
    Scenario("answers at once, 1 connection", 0, 1, bounded=False),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """All rounds of a scenario."""

    scenario: Scenario
    rounds: Sequence[dict[str, Measurement]]

    def p99_ratio(self, name: str) -> Spread:
        """p99 over that without a mirror in the same round."""
        return Spread.of(r[name].seen.p99_ms / r[WITHOUT].seen.p99_ms for r in self.rounds)

    def cost(self, name: str) -> float:
        """Microseconds of CPU per request, of Envoy and the agent."""
        runs = [turn[name] for turn in self.rounds]
        return statistics.median(run.cpu_total / max(run.seen.requests, 1) * 1e6 for run in runs)

    def median(self, name: str, which: Callable[[Seen], float]) -> float:
        """Median over the rounds of what was seen."""
        return statistics.median(which(turn[name].seen) for turn in self.rounds)

    @property
    def failures(self) -> int:
        """Requests of callers that failed, in all rounds."""
        return sum(run.seen.failures for turn in self.rounds for run in turn.values())


@contextmanager
def running(directory: Path, delay_ms: int) -> Iterator[tuple[Program, System]]:
    """Model servers and a router."""
    folder = directory / "manifests"
    folder.mkdir()
    stable, candidate, gone, port, admin = (free_port() for _ in range(5))
    text = _MANIFESTS.format(stable=stable, candidate=candidate, gone=gone)
    for name, mirror in _MIRRORS.items():
        text += _ROUTE.format(name=name, mirror=mirror)
    (folder / "all.yaml").write_text(text)
    command = [
        *(sys.executable, "-m", "modelrouter", "run", "-f", str(folder), "--plain"),
        *("--port", str(port), "--admin-port", str(admin), "--envoy-concurrency", "1"),
    ]
    with (
        answering_envoy((stable, candidate), directory, delay_ms=delay_ms) as servers,
        Program("router", command, directory / "router.log") as router,
    ):
        servers.wait_until(lambda: answers(stable), "the servers' start")
        router.wait_until(lambda: answers(port, "/v1/models"), "its start")
        yield servers, System("Model Router", port, port, router, admin_port=admin)


def run(
    scenario: Scenario, rounds: int, seconds: float, *, most_rounds: int | None = None
) -> Outcome:
    """All turns of a scenario, after one that does not count.

    Those during which the machine was busy with something else are repeated, and the quietest ones
    count. `most_rounds`: with those that are repeated; by default twice as many.
    """
    print(scenario.name, file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        with running(directory, scenario.delay_ms) as (servers, router):
            assert router.program is not None
            everything = [servers, router.program]
            turns: list[dict[str, Measurement]] = []
            for number in range((most_rounds or 2 * rounds) + 1):
                if sum(foreign_cores(turn) < QUIET_CORES for turn in turns[1:]) >= rounds:
                    break
                turn = {}
                # Each goes first in its turn: what one leaves behind is not always the same one's.
                first = number % len(_MIRRORS)
                models = list(_MIRRORS)
                for model in models[first:] + models[:first]:
                    body = directory / f"{model}.json"
                    body.write_bytes(bodies.chat(model, BODY_KILOBYTES * 1024))
                    load = Load(
                        port=router.port,
                        key=CLIENT_KEY,
                        body_file=str(body),
                        settling_file=str(body),
                        connections=scenario.connections,
                        seconds=seconds,
                    )
                    turn[model] = measure(router, load, everything)
                turns.append(turn)
    return Outcome(scenario, sorted(turns[1:], key=foreign_cores)[:rounds])


def section(outcomes: Sequence[Outcome], command: str) -> str:
    """The results for people."""
    lines = [
        "## Mirrored requests\n",
        "What callers wait for while all of their requests are copied to another pool (`mirror` at "
        "100 %), over the same without a mirror in the same round: the median over the rounds, the "
        f"least and the greatest. Requests have {BODY_KILOBYTES} KB; Envoy has one worker thread, "
        "which does the work of the copies, too, and both pools are another Envoy that answers "
        "after the time that is given. CPU is that of Envoy and the agent, per request of a "
        "caller.\n",
    ]
    rows = []
    for outcome in outcomes:
        for name in _MIRRORS:
            ratio = outcome.p99_ratio(name)
            told = f"{ratio.median:.3f}x ({ratio.least:.3f} to {ratio.most:.3f})"
            rows.append(
                [
                    f"{outcome.scenario.name}: {NAMES.get(name, 'no mirror')}",
                    f"{outcome.median(name, lambda seen: seen.p50_ms):.2f}",
                    f"{outcome.median(name, lambda seen: seen.p99_ms):.2f}",
                    "" if name == WITHOUT else told,
                    f"{outcome.cost(name):.0f}",
                ]
            )
    lines += table(["", "p50 ms", "p99 ms", "p99 over none", "CPU µs"], rows)
    lines += table(["bound", "measured", "held"], list(_verdicts(outcomes)))
    lines.append(f"Measured on {date.today().isoformat()} with `{command}` on {machine()}.")
    return "\n".join(lines)


def _verdicts(outcomes: Sequence[Outcome]) -> Iterator[list[str]]:
    for outcome in outcomes:
        failed = outcome.failures
        name = outcome.scenario.name
        yield [f"{name}: no caller's request fails", str(failed), "no" if failed else "yes"]
        for mirror in (MIRRORED, DEAD) if outcome.scenario.bounded else ():
            ratio = outcome.p99_ratio(mirror).median
            what = f"{name}, {NAMES[mirror]}: p99 at most {MOST_P99:g}x"
            yield [what, f"{ratio:.3f}x", "yes" if ratio <= MOST_P99 else "no"]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.mirroring", description=__doc__)
    parser.add_argument("--output", type=Path, help="put the section into this page, too")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3.0, help="of load per turn")
    options = parser.parse_args()
    try:
        outcomes = [run(each, options.rounds, options.seconds) for each in SCENARIOS]
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    text = section(outcomes, "make bench" if options.output else "python -m bench.mirroring")
    print(text)
    if options.output:
        write_section(options.output, MIRRORS, text)
    return 1 if any(outcome.failures for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
