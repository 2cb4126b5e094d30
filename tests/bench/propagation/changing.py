"""One route's weights are changed again and again; each change is followed on its way."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass

from bench.processes import BenchError
from bench.propagation import audit, crowd
from bench.propagation.audit import AuditLog
from bench.propagation.stage import Stage
from bench.propagation.traffic import Traffic

_PATIENCE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Change:
    """One change. All times in milliseconds since kubectl was started."""

    accepted: float
    """The API server had stored the new route."""
    written: float
    """It had stored the operator's ConfigMap."""
    traffic: float
    """From here on requests went to the new pool."""
    programmed: float
    """Who watches the route has read `Programmed` of the new generation."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Many changes, one after the other."""

    changes: list[Change]
    writes: dict[str, int]
    """What the operator wrote for them, by kind."""
    most_shards: int
    """The most ConfigMaps that one change wrote."""
    requests: int
    failures: list[str]


def measure_changes(stage: Stage, count: int, traffic: Traffic) -> Changes:
    """Move the traffic from one pool to the other and back, `count` times in all."""
    log = AuditLog(stage.kubernetes.audit_log)
    generation = stage.generation()
    changes: list[Change] = []
    writes: Counter[str] = Counter()
    most_shards = 0
    requests, failed = traffic.count, len(traffic.failures)
    for _ in range(count):
        # At any phase of whatever has a rhythm.
        time.sleep(random.uniform(0.05, 0.25))
        _note(log, stage, writes)
        target = crowd.GREEN if stage.target == crowd.BLUE else crowd.BLUE
        generation += 1
        started = time.time()
        stage.send_all_to(target)
        changed = traffic.await_pool(target, started, _PATIENCE_SECONDS).at
        programmed = stage.statuses.await_programmed(crowd.ROUTE, generation, _PATIENCE_SECONDS)
        fresh = log.fresh()
        own = audit.of(stage.installation.user, fresh)
        writes += audit.by_kind(own)
        shards = [write.answered for write in own if write.kind == "configmaps"]
        most_shards = max(most_shards, len(shards))
        accepted = [w.answered for w in fresh if (w.kind, w.name) == ("modelroutes", crowd.ROUTE)]
        if not shards or not accepted:
            raise BenchError("the audit log does not show the change")
        times = (accepted[0], shards[0], changed, programmed)
        changes.append(Change(*((at - started) * 1e3 for at in times)))
    time.sleep(1.5)  # what is written late counts, too
    _note(log, stage, writes)
    return Changes(
        changes, dict(writes), most_shards, traffic.count - requests, traffic.failures[failed:]
    )


def _note(log: AuditLog, stage: Stage, writes: Counter[str]) -> None:
    writes += audit.by_kind(audit.of(stage.installation.user, log.fresh()))
