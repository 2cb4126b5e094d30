"""The operator's start in a cluster that is full already."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from bench.propagation import audit
from bench.propagation.audit import AuditLog
from bench.propagation.stage import PATIENCE_SECONDS, Stage, memory


@dataclass(frozen=True, slots=True)
class Start:
    """One start. Times in seconds since the process was started."""

    programmed: float
    """Every route was `Programmed`; or, where all were so before, all work was done."""
    ready: float | None
    """Every route was `Ready`: its endpoints had been probed, too. None: all were so before."""
    cpu: float
    """CPU seconds of the operator by then."""
    peak_mb: float
    """The most memory until all was written."""
    writes: Counter[str]


def measure_cold_start(stage: Stage, routes: int) -> Start:
    """Nothing has been written for these routes yet; until all are `Programmed`."""
    log = AuditLog(stage.kubernetes.audit_log)
    began = stage.start_operator()
    ended = stage.statuses.await_all_programmed(routes, PATIENCE_SECONDS)
    cpu = stage.operator_cpu()
    ready = stage.statuses.await_all_ready(routes, PATIENCE_SECONDS)
    return _ended(stage, log, ended - began, cpu, ready - began)


def measure_restart(stage: Stage) -> Start:
    """All is as it should be; until the operator knows that."""
    stage.stop_operator()
    log = AuditLog(stage.kubernetes.audit_log)
    began = stage.start_operator()
    ended = stage.await_calm()
    return _ended(stage, log, ended - began, stage.operator_cpu(), None)


def _ended(stage: Stage, log: AuditLog, seconds: float, cpu: float, ready: float | None) -> Start:
    assert stage.operator is not None
    writes: Counter[str] = Counter()
    quiet = 0
    while quiet < 3:
        time.sleep(1.0)  # what is written late counts, too
        found = audit.by_kind(audit.of(stage.installation.user, log.fresh()))
        writes += found
        quiet = 0 if found else quiet + 1
    _, peak = memory(stage.operator.pid)
    return Start(seconds, ready, cpu, peak, writes)
