"""`python -m bench`: measure, print, and write the page."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from bench import systems
from bench.bounds import verdicts
from bench.comparing import Outcome, compare
from bench.deciding import measure_decisions
from bench.environments import FASTAPI, LITELLM, EnvironmentMissingError, environment
from bench.processes import BenchError
from bench.report import Results, page
from bench.scenarios import ALL, EVENTS, PAUSE_MS, QUICK, STREAMING
from bench.sections import REQUESTS, write_section
from bench.systems import Field, System


def main() -> int:
    """The command; the exit code is 0 unless something failed to run."""
    options = _options(sys.argv[1:])
    # A signal ends the `with` blocks in order, and with them all processes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    scenarios = [s for s in (QUICK if options.quick else ALL) if options.scenario in s.name]
    rounds = options.rounds or (1 if options.quick else 5)
    seconds = options.seconds or (0.5 if options.quick else 1.0)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-", dir=_memory()) as name:
            directory = Path(name)
            with _everything(directory, options) as competing:
                decisions = None
                with competing.turn() as running:
                    _check(running, directory)
                    if not options.without_decisions:
                        decisions = measure_decisions(
                            running,
                            competing.backends,
                            directory,
                            rate=500.0 if options.quick else 1000.0,
                            seconds=1.0 if options.quick else 10.0,
                            routes=100 if options.quick else 1000,
                        )
                most = rounds if options.quick else None
                outcomes = compare(scenarios, competing, rounds, seconds, most_rounds=most)
                skipped = competing.skipped
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    failures = [line for outcome in outcomes for line in outcome.failures]
    found = list(verdicts(outcomes, decisions))
    made = sys.argv[1:] == ["--output", "docs/benchmarks.md"]
    command = "make bench" if made else f"python -m bench {' '.join(sys.argv[1:])}"
    text = page(Results(command, outcomes, decisions, found, skipped, failures))
    print(text)
    if options.output:
        write_section(options.output, REQUESTS, text)
    if options.raw:
        options.raw.write_text(json.dumps(_raw(outcomes), indent=1))
    for line in failures:
        print(f"bench: failed: {line}", file=sys.stderr)
    return 1 if failures else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--output", type=Path, help="put the section into this page, too")
    parser.add_argument("--raw", type=Path, help="write every measurement here, as JSON")
    parser.add_argument("--quick", action="store_true", help="a little of it, in under a minute")
    parser.add_argument("--rounds", type=int, help="turns of each system (default: 5)")
    parser.add_argument("--seconds", type=float, help="of load per turn (default: 1.0)")
    parser.add_argument("--scenario", default="", help="only scenarios with this in their name")
    parser.add_argument(
        "--without-python", action="store_true", help="leave FastAPI and LiteLLM out"
    )
    parser.add_argument("--without-decisions", action="store_true", help="leave decisions out")
    return parser.parse_args(arguments)


@contextmanager
def _everything(directory: Path, options: argparse.Namespace) -> Iterator[Field]:
    """All systems that can be run; those in Python are running."""
    with ExitStack() as stack:
        to = stack.enter_context(systems.backends(directory, EVENTS, PAUSE_MS))
        competing = Field(directory, to)
        add = competing.others.append
        if not options.without_python and not options.quick:
            try:
                place = environment("fastapi", FASTAPI)
                for client in ("httpx", "aiohttp"):
                    add(stack.enter_context(systems.fastapi(to, directory, place, client)))
            except EnvironmentMissingError as error:
                competing.skipped.append(f"FastAPI cannot be installed: {error}")
            try:
                place = environment("litellm", LITELLM)
                add(stack.enter_context(systems.litellm(to, directory, place)))
            except EnvironmentMissingError as error:
                competing.skipped.append(f"LiteLLM cannot be installed: {error}")
        yield competing


def _check(running: Sequence[System], directory: Path) -> None:
    fixed, streamed = directory / "fixed.json", directory / "streamed.json"
    fixed.write_bytes(ALL[0].body)
    streamed.write_bytes(STREAMING.settling_body)
    systems.check(running, {"fixed": fixed, "streamed": streamed})


def _raw(outcomes: Sequence[Outcome]) -> dict[str, list[dict[str, object]]]:
    return {
        outcome.scenario.name: [
            {system: asdict(run) for system, run in turn.items()} for turn in outcome.rounds
        ]
        for outcome in outcomes
    }


def _memory() -> str | None:
    """Where files cost no disk, if there is such a place."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None


if __name__ == "__main__":
    sys.exit(main())
