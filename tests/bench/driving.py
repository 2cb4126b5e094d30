"""One measurement: load on one system for a while, and the CPU time that it took."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from bench.load import Load, Seen
from bench.processes import (
    SUPERVISOR,
    BenchError,
    Cpu,
    Program,
    busy_seconds,
    cpu_seconds,
    module_environment,
)
from bench.systems import System

SETTLING_SECONDS = 0.2
"""Access logs are sent in batches; what the last requests cost is to be counted, and what comes
before the first is not."""


@dataclass(slots=True)
class Measurement:
    """What one run of one system gave."""

    seen: Seen
    cpu: dict[str, float] = field(default_factory=dict)
    """CPU seconds by the name of the process, for the whole run."""
    foreign_cores: float = 0.0
    """Cores that were busy with something else."""
    decisions: int = 0
    """How often the router's agent was asked."""

    @property
    def cpu_total(self) -> float:
        """CPU seconds of all processes that serve requests."""
        return sum(seconds for name, seconds in self.cpu.items() if name != SUPERVISOR)


def measure(system: System, load: Load, everything: Iterable[Program]) -> Measurement:
    """Run the load against the system. `everything` are all programs of the comparison."""
    everything = list(everything)
    command = [sys.executable, "-m", "bench.load"]
    pipe = subprocess.PIPE
    generator = subprocess.Popen(
        command, stdin=pipe, stdout=pipe, text=True, env=module_environment()
    )
    with generator:
        assert generator.stdin
        assert generator.stdout
        try:
            print(json.dumps(asdict(load)), file=generator.stdin, flush=True)
            if generator.stdout.readline() != "ready\n":
                raise BenchError(f"{system.name}: the load generator could not connect")
            time.sleep(SETTLING_SECONDS)
            decisions = system.decisions()
            cpu, ours, busy = system.cpu(), _ours(everything), busy_seconds()
            started = time.monotonic()
            print("go", file=generator.stdin, flush=True)
            line = generator.stdout.readline()
            time.sleep(SETTLING_SECONDS)
            took = time.monotonic() - started
            after, ours_after, busy_after = system.cpu(), _ours(everything), busy_seconds()
            decisions = system.decisions() - decisions
        finally:
            generator.kill()
    if not line:
        raise BenchError(f"{system.name}: the load generator died")
    seen = Seen(**json.loads(line))
    own = ours_after - ours + seen.cpu_seconds
    foreign = max(busy_after - busy - own, 0.0) / took
    return Measurement(seen, _difference(cpu, after), foreign, decisions)


def _difference(before: list[Cpu], after: list[Cpu]) -> dict[str, float]:
    earlier = {cpu.pid: cpu.seconds for cpu in before}
    by_name: dict[str, float] = {}
    for cpu in after:
        spent = cpu.seconds - earlier.get(cpu.pid, 0.0)
        by_name[cpu.name] = by_name.get(cpu.name, 0.0) + spent
    return by_name


def _ours(programs: list[Program]) -> float:
    """CPU time of the comparison's programs and of this process."""
    own = cpu_seconds(os.getpid())
    return own + sum(cpu.seconds for program in programs for cpu in program.cpu())
