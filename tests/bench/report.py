"""The results as a Markdown page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from bench.bounds import Verdict
from bench.comparing import Outcome
from bench.deciding import Decisions
from bench.machine import machine, versions
from bench.processes import SUPERVISOR
from bench.scenarios import EVENTS, PAUSE_MS, STREAMS
from bench.systems import DIRECT, PLAIN, ROUTER
from bench.tables import table

INTRODUCTION = """\
# Benchmarks

What a request costs in processor time, and what it waits, with different things between a client
and a model server. All systems run on one machine and are measured in turns within one run.

- **direct**: nothing in between.
- **plain Envoy**: one cluster, everything else as Envoy has it by default. All ratios are to this.
- **Model Router**: this project, `modelrouter run` from manifests: a route with five rules, two
  weighted pools that take over from each other, sessions, an API key from a Secret, health checks,
  and the model renamed. The agent decides and Envoy reports every request to it; where a decision
  holds for other requests too, Envoy may follow it for a moment without asking again. Below stands
  how many were asked about.
- **FastAPI + httpx**, **FastAPI + aiohttp**: a proxy of 60 lines as it is usually written in
  Python, under uvicorn. It reads the body, renames the model and streams the answer back; it
  decides nothing and counts nothing. vLLM's production-stack has a router of the second kind.
- **LiteLLM**: its proxy with one worker, without a database. It checks the client's key, without
  which it does not start.
"""

METHOD = f"""\
## How it is measured

- CPU is user and system time of all processes of a system with their threads, by the kernel's
  clock of each process, divided by the requests that were answered meanwhile. For Model Router
  that is Envoy and the agent; the supervisor of `modelrouter run`, which a cluster does not have,
  is named apart.
- Every Envoy has one worker thread (`--concurrency 1`), every Python proxy one process.
- The load is a closed loop: each connection sends its next request when the last one has been
  answered, with the headers of OpenAI's Python client. With 32 connections the system under test
  is saturated, or shares the machine's cores with the load generator and the model server: then
  requests per second and latencies tell how they get along, while CPU per request still compares.
- The model server is another Envoy that reads the whole body and answers at once, about 600 bytes
  with `usage`. For streams it is a Python server that writes each event by itself, in steps like
  an engine that batches: {STREAMS} streams of {EVENTS} events, {PAUSE_MS:g} ms apart, all at the
  same moments, and then as many again on the same connections. The cost is that of one event
  passed on, the request's own cost included.
- Every connection has asked once before anything is counted.
- Systems take turns (A B C, A B C, …), plain Envoy and Model Router as new processes each time:
  what one of them costs depends by some percent on where its memory happens to be. A ratio is
  computed within one round; given are the median over the rounds and, in brackets, the least and
  the greatest. Rounds during which the machine was busy with something else are repeated, at most
  as often again, and the quietest ones count.
- Bodies are conversations with quotes and newlines. `model` comes first, as OpenAI's Python client
  writes it, or last. Within a scenario requests differ only in their id, as those of one
  application without sessions do.

Not measured: TLS, HTTP/2, many Envoy workers, a network between the parts, model servers that take
their time, and how any of this behaves over days. A model's own work costs far more than any proxy
here; what is compared is what comes on top of it.
"""


@dataclass(slots=True)
class Results:
    """Everything that goes into the page."""

    command: str
    outcomes: Sequence[Outcome]
    decisions: Decisions | None
    verdicts: Sequence[Verdict]
    skipped: Sequence[str]
    failures: Sequence[str]


def page(results: Results) -> str:
    """The page."""
    return "\n".join(
        [
            INTRODUCTION,
            *_setting(results),
            *_summary(results.outcomes),
            *_bounds(results.verdicts),
            *_details(results.outcomes),
            *_decisions(results.decisions),
            METHOD,
        ]
    )


def _setting(results: Results) -> Iterator[str]:
    yield f"Measured on {date.today().isoformat()} with `{results.command}` on {machine()}."
    yield f"{versions()}."
    yield ""
    foreign = [outcome.foreign_cores for outcome in results.outcomes]
    if foreign and max(foreign) > 0.2:
        yield (
            f"The machine was doing other work at the same time: {min(foreign):.1f} to "
            f"{max(foreign):.1f} cores. Latencies and rates suffer from that more than CPU does."
        )
        yield ""
    for line in results.skipped:
        yield f"Left out: {line}"
        yield ""
    for line in results.failures:
        yield f"**Failed**: {line}"
        yield ""


def _summary(outcomes: Sequence[Outcome]) -> Iterator[str]:
    systems = [s for s in _systems(outcomes) if s not in (DIRECT, PLAIN)]
    if not systems or any(PLAIN not in outcome.systems for outcome in outcomes):
        return
    yield "## CPU per request, as a multiple of plain Envoy's\n"
    rows = (
        [
            _title(outcome),
            f"{outcome.cost(PLAIN):.0f} µs",
            *(_times(outcome.cost_ratio(system).median) for system in systems),
        ]
        for outcome in outcomes
    )
    yield from table(["", PLAIN, *systems], rows)


def _bounds(verdicts: Sequence[Verdict]) -> Iterator[str]:
    if not verdicts:
        return
    yield "## What the project holds itself to\n"
    rows = ([v.what, v.bound, v.measured, "held" if v.held else "**not held**"] for v in verdicts)
    yield from table(["", "bound", "measured", ""], rows)


def _details(outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield "## In detail\n"
    for outcome in outcomes:
        yield f"### {_title(outcome)}\n"
        unit = outcome.scenario.units
        latency = "stream" if outcome.scenario.streamed else "latency"
        heads = ["", f"CPU µs per {unit}", "to plain Envoy", f"{unit}s/s"]
        heads += [f"{latency} p50 ms", f"{latency} p99 ms", "p50 to plain Envoy"]
        yield from table(heads, _rows(outcome))
        if ROUTER in outcome.systems:
            parts = [p for p in ("Envoy", "agent", SUPERVISOR) if p in outcome.processes(ROUTER)]
            costs = (f"{part} {outcome.cost(ROUTER, part):.1f} µs" for part in parts)
            asked = f"the agent was asked about {outcome.asked(ROUTER):.0%} of the requests"
            yield f"{ROUTER}: {', '.join(costs)} per {unit}; {asked}.\n"


def _rows(outcome: Outcome) -> Iterator[list[str]]:
    for system in outcome.systems:
        cost = ratio = p50 = "-"
        if system != DIRECT:
            cost = f"{outcome.cost(system):,.1f}"
        if PLAIN in outcome.systems:
            if system not in (DIRECT, PLAIN):
                spread = outcome.cost_ratio(system)
                ratio = f"{_times(spread.median)} ({spread.least:.3g}-{spread.most:.3g})"
            if system != PLAIN:
                p50 = _times(outcome.p50_ratio(system).median)
        rate = outcome.median(system, lambda run: outcome.units(run) / run.seen.seconds)
        yield [
            system,
            cost,
            ratio,
            f"{rate:,.0f}",
            f"{outcome.median(system, lambda run: run.seen.p50_ms):,.2f}",
            f"{outcome.median(system, lambda run: run.seen.p99_ms):,.2f}",
            p50,
        ]


def _decisions(decisions: Decisions | None) -> Iterator[str]:
    if decisions is None:
        return
    replacing = decisions.replacing
    yield "## Decisions\n"
    yield (
        f"The agent asked over its Unix socket as Envoy asks it, {decisions.rate:,.0f} times a "
        "second with bodies of 1 KB, whether or not earlier ones are answered, from the question "
        "sent to the answer received. The first row "
        "is the same with a server that answers without reading: what the machine and the client "
        "add. In the last row "
        f"a configuration of {replacing.routes:,} routes was replaced by one with every route "
        f"changed, {replacing.times} times without a pause, with an Envoy that acknowledged each: "
        f"{replacing.live_ms:,.0f} ms from the file to Envoy's acknowledgement, at the median.\n"
    )
    rows = (
        [name, f"{seen.count:,}", f"{seen.p50:.3f}", f"{seen.p99:.3f}", f"{seen.most:.2f}"]
        for name, seen in (
            ("no decision", decisions.floor),
            ("steady", decisions.steady),
            (f"while {replacing.routes:,} routes are replaced", replacing.decisions),
        )
    )
    yield from table(["", "decisions", "p50 ms", "p99 ms", "longest ms"], rows)


def _systems(outcomes: Sequence[Outcome]) -> list[str]:
    return list(dict.fromkeys(system for outcome in outcomes for system in outcome.systems))


def _title(outcome: Outcome) -> str:
    scenario = outcome.scenario
    return f"{scenario.name} (per event)" if scenario.streamed else scenario.name


def _times(value: float) -> str:
    return f"{value:.2f}x" if value < 10 else f"{value:,.0f}x"
