"""What runs costs while nothing changes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

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


def measure_idle(stage: Stage, seconds: float) -> Idle:
    """Look on."""
    processes = stage.processes()
    log = AuditLog(stage.kubernetes.audit_log)
    before, began = cpu(processes), time.monotonic()
    time.sleep(seconds)
    took, after = time.monotonic() - began, cpu(processes)
    fresh = log.fresh()
    user = stage.installation.user
    return Idle(
        took,
        {name: (after[name] - before[name]) / took * 1e3 for name in processes},
        {name: memory(pid) for name, pid in processes.items()},
        audit.by_kind(audit.of(user, fresh)),
        sum(write.user == user and write.kind == "leases" for write in fresh),
    )
