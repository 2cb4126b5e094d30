"""`python -m bench.propagation`: measure, print, and write the page's section."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from bench.processes import BenchError
from bench.propagation.changing import measure_changes
from bench.propagation.crowd import ROUTE
from bench.propagation.idling import measure_idle
from bench.propagation.report import Results, section
from bench.propagation.stage import Stage, stage
from bench.propagation.starting import measure_cold_start, measure_restart
from bench.propagation.traffic import Traffic
from bench.sections import CLUSTER, write_section
from cluster.kubernetes.problems import ClusterError

_PATIENCE_SECONDS = 60.0


def main() -> int:
    """The command; the exit code is 0 unless something failed to run."""
    options = _options(sys.argv[1:])
    # A signal ends the `with` blocks in order, and with them all processes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with ExitStack() as stack:
            folder = options.keep
            if folder is None:
                made = tempfile.TemporaryDirectory(prefix="bench-cluster-")
                folder = Path(stack.enter_context(made))
            folder.mkdir(parents=True, exist_ok=True)
            results = _measure(stack.enter_context(stage(folder)), options)
    except (BenchError, ClusterError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    text = section(results)
    print(text)
    if options.output:
        write_section(options.output, CLUSTER, text)
    if options.raw:
        raw = {name: asdict(changes) for name, changes in results.by_name().items()}
        options.raw.write_text(json.dumps(raw, indent=1))
    failures = [*results.alone.failures, *results.crowded.failures]
    for line in failures[:5]:
        print(f"bench: a request failed: {line}", file=sys.stderr)
    return 1 if failures else 0


def _measure(on: Stage, options: argparse.Namespace) -> Results:
    _say("the operator starts, alone with one route")
    on.start_operator()
    (pod,) = on.pods.start()
    on.statuses.await_programmed(ROUTE, on.generation(), _PATIENCE_SECONDS)
    with Traffic(pod.address, 8080, ROUTE) as traffic:
        _say(f"{options.changes} changes")
        alone = measure_changes(on, options.changes, traffic)
        on.stop_operator()
        _say(f"{options.routes} routes and {options.pools} pools are applied")
        on.apply_crowd(options.routes, options.pools)
        _say("the operator starts in the full cluster")
        cold = measure_cold_start(on, options.routes + 1)
        _say(f"{options.changes} changes")
        crowded = measure_changes(on, options.changes, traffic)
    restart = measure_restart(on)
    _say(f"nothing happens for {options.idle:g} s")
    idle = measure_idle(on, options.idle)
    made = sys.argv[1:] == ["--output", "docs/benchmarks.md"]
    command = (
        "make bench-cluster" if made else f"python -m bench.propagation {' '.join(sys.argv[1:])}"
    )
    return Results(command, options.routes, options.pools, alone, cold, crowded, restart, idle)


def _say(what: str) -> None:
    print(f"bench: {what}", file=sys.stderr, flush=True)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.propagation", description=__doc__)
    parser.add_argument("--output", type=Path, help="put the section into this page")
    parser.add_argument("--raw", type=Path, help="write every measurement here, as JSON")
    parser.add_argument("--changes", type=int, default=100, help="each time (default: 100)")
    parser.add_argument("--routes", type=int, default=1000, help="beside it (default: 1000)")
    parser.add_argument("--pools", type=int, default=200, help="of theirs (default: 200)")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds of rest (default: 60)")
    parser.add_argument("--keep", type=Path, help="a folder for logs, which stays")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
