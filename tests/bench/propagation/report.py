"""The results as a section of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version

from bench.bounds import Verdict
from bench.machine import machine
from bench.propagation.changing import Change, Changes
from bench.propagation.idling import Idle
from bench.propagation.starting import Start
from bench.tables import table
from cluster.kubernetes.tools import VERSION

P99_MS, START_SECONDS, OPERATOR_MB = 1000.0, 15.0, 350.0

INTRODUCTION = """\
## From a change in the cluster to the traffic

A real API server with etcd, the operator with the rights that the chart gives it, one router pod
(agent and Envoy) and a client that sends requests without a pause. `kubectl apply` moves all of a
route's traffic from one pool to another. Counted from the start of kubectl, which takes its part:
"""

METHOD = """\
All of it shares one machine: etcd without waiting for a disk, no network between the parts, no
kubelet (the pod's processes run beside the others, its status is written by hand). Every route is
of the same router, the hardest case for one: its configuration is the largest. Traffic counts as
changed with the first answer from the new pool after which none comes from the old one; there are
about three milliseconds between two answers. Changes come one after the other, at random times.
"""


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that goes into the section."""

    command: str
    routes: int
    pools: int
    alone: Changes
    cold: Start
    crowded: Changes
    restart: Start
    idle: Idle

    def by_name(self) -> dict[str, Changes]:
        """What was measured change by change."""
        return {"alone": self.alone, "crowded": self.crowded}


def section(results: Results) -> str:
    """The section."""
    beside = f"with {results.routes:,} routes and {results.pools:,} pools"
    return "\n".join(
        [
            INTRODUCTION,
            *_changes({"alone": results.alone, beside: results.crowded}),
            *_bounds(verdicts(results)),
            f"### The operator {beside}\n",
            *_operator(results),
            METHOD,
            f"Measured on {date.today().isoformat()} with `{results.command}` on {machine()}. "
            f"{_company(results.idle)}Kubernetes {VERSION[1:]}, "
            f"Model Router Operator {version('model-router-operator')}.",
            "",
        ]
    )


def verdicts(results: Results) -> Iterator[Verdict]:
    """What the project holds itself to here."""
    for what, changes in (("alone", results.alone), ("beside the others", results.crowded)):
        p99 = quantile([change.traffic for change in changes.changes], 0.99)
        yield Verdict(
            f"p99 from `kubectl apply` to changed traffic, {what}",
            f"under {P99_MS / 1e3:g} s", f"{p99 / 1e3:.2f} s", p99 < P99_MS,
        )  # fmt: skip
    cold, idle = results.cold, results.idle
    yield Verdict(
        f"cold start with {results.routes:,} routes, until all are `Programmed`",
        f"under {START_SECONDS:g} s", f"{cold.programmed:.1f} s", cold.programmed < START_SECONDS,
    )  # fmt: skip
    most = max(cold.peak_mb, results.restart.peak_mb, idle.memory_mb["operator"][1])
    yield Verdict(
        "memory of the operator, at most",
        f"under {OPERATOR_MB:g} MB", f"{most:.0f} MB", most < OPERATOR_MB,
    )  # fmt: skip
    shards = results.crowded.most_shards
    yield Verdict("ConfigMaps written for one change", "at most 1", f"{shards}", shards <= 1)
    writes = idle.writes.total()
    yield Verdict(
        f"writes in {idle.seconds:.0f} s without a change, the Lease left out",
        "none", str(writes or "none"), not writes,
    )  # fmt: skip


def _changes(measured: dict[str, Changes]) -> Iterator[str]:
    steps: list[tuple[str, Callable[[Change], float]]] = [
        ("the API server has the route", lambda change: change.accepted),
        ("it has the operator's ConfigMap", lambda change: change.written),
        ("**requests go to the other pool**", lambda change: change.traffic),
        ("the route's status says `Programmed`", lambda change: change.programmed),
    ]
    heads = [""]
    for name, changes in measured.items():
        heads += [f"{name} ({len(changes.changes)} changes): p50 ms", "p99 ms", "longest ms"]
    rows = []
    for what, read in steps:
        row = [what]
        for changes in measured.values():
            found = [read(change) for change in changes.changes]
            row += [f"{quantile(found, q):,.0f}" for q in (0.5, 0.99, 1.0)]
        rows.append(row)
    yield from table(heads, rows)
    for name, changes in measured.items():
        count = len(changes.changes)
        failed = len(changes.failures)
        yield (
            f"Written by the operator for one change, {name}: {_writes(changes.writes, count)}. "
            f"{changes.requests:,} requests meanwhile, {failed or 'none'} of which failed.\n"
        )


def _bounds(found: Iterator[Verdict]) -> Iterator[str]:
    rows = ([v.what, v.bound, v.measured, "held" if v.held else "**not held**"] for v in found)
    yield from table(["", "bound", "measured", ""], rows)


def _operator(results: Results) -> Iterator[str]:
    rows = [
        [what, f"{start.programmed:.1f}", f"{start.ready:.1f}" if start.ready else "-",
         f"{start.cpu:.1f}", f"{start.peak_mb:.0f}", _writes(start.writes, 1) or "none"]
        for what, start in (
            ("cold start: nothing is written yet, until all routes are `Programmed`", results.cold),
            ("restart: all is written, until nothing is left to look at", results.restart),
        )
    ]  # fmt: skip
    yield from table(["", "seconds", "until all are `Ready`", "CPU s", "memory MB", "writes"], rows)
    idle = results.idle
    costs = (
        f"{name} {cpu:.1f} ms of CPU per second and {idle.memory_mb[name][0]:.0f} MB"
        for name, cpu in idle.cpu_ms.items()
    )
    yield (
        f"At rest ({idle.seconds:.0f} s): {', '.join(costs)}. Envoy probes "
        f"{results.pools + 2:,} endpoints meanwhile; the Lease was written {idle.leases} times.\n"
    )


def _company(idle: Idle) -> str:
    if idle.foreign_cores < 0.2:
        return ""
    return f"Other work kept {idle.foreign_cores:.1f} cores busy at the same time. "


def quantile(values: Sequence[float], q: float) -> float:
    """The smallest value that so much of all values is not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-len(ordered) * q // 1) - 1))]


def _writes(writes: Mapping[str, int], count: int) -> str:
    return ", ".join(f"{number / count:,.4g} {kind}" for kind, number in sorted(writes.items()))
