"""What runs costs while nothing changes."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from bench.processes import busy_seconds, cpu_seconds, family
from bench.propagation import audit
from bench.propagation.audit import AuditLog
from bench.propagation.stage import Stage, cpu, memory


@dataclass(frozen=True, slots=True)
class Idle:
    """A while without a change and without requests."""

    seconds: float
    cpu_ms: Mapping[str, float]
    """CPU milliseconds per second, by process."""
    memory_mb: Mapping[str, tuple[float, float]]
    """Resident memory, by process: at the end, and at most since its start."""
    writes: Counter[str]
    """By the operator, the Lease left out."""
    leases: int
    """How often it wrote the Lease."""
    foreign_cores: float
    """Cores that were busy with something that is no part of this."""


def measure_idle(stage: Stage, seconds: float) -> Idle:
    """Look on."""
    processes = stage.processes()
    log = AuditLog(stage.kubernetes.audit_log)
    before, ours, busy, began = cpu(processes), _ours(), busy_seconds(), time.monotonic()
    time.sleep(seconds)
    took, after = time.monotonic() - began, cpu(processes)
    foreign = (busy_seconds() - busy) - (_ours() - ours)
    fresh = log.fresh()
    user = stage.installation.user
    return Idle(
        took,
        {name: (after[name] - before[name]) / took * 1e3 for name in processes},
        {name: memory(pid) for name, pid in processes.items()},
        audit.by_kind(audit.of(user, fresh)),
        sum(write.user == user and write.kind == "leases" for write in fresh),
        max(foreign / took, 0.0),
    )


def _ours() -> float:
    """CPU seconds of this process and all that it has started."""
    total = 0.0
    for pid in family(os.getpid()):
        with suppress(OSError):
            total += cpu_seconds(pid)
    return total
