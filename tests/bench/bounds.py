"""What the project holds itself to. A bound that is not held is printed, never an error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.comparing import Outcome
from bench.deciding import Decisions
from bench.scenarios import Scenario
from bench.systems import LITELLM, PLAIN, ROUTER

DECISION_MS, DECISION_WHILE_REPLACING_MS = 0.5, 5.0
LEAST_OVER_LITELLM = 50.0
MOST_PER_EVENT = 1.2
MOST_P50 = 1.8


@dataclass(frozen=True, slots=True)
class Verdict:
    """A bound and what was measured."""

    what: str
    bound: str
    measured: str
    held: bool


def verdicts(outcomes: Sequence[Outcome], decisions: Decisions | None) -> Iterator[Verdict]:
    """All bounds that something was measured for."""
    for outcome in outcomes:
        if not {ROUTER, PLAIN} <= set(outcome.systems):
            continue
        name = outcome.scenario.name
        most = _most(outcome.scenario)
        ratio = outcome.cost_ratio(ROUTER)
        measured = f"{ratio.median:.2f}x ({ratio.least:.2f} to {ratio.most:.2f})"
        unit = outcome.scenario.units
        what = f"CPU per {unit} over plain Envoy's: {name}"
        yield Verdict(what, f"at most {most:g}x", measured, ratio.median <= most)
        if outcome.scenario.connections == 1:
            p50 = outcome.p50_ratio(ROUTER)
            measured = f"{p50.median:.2f}x ({p50.least:.2f} to {p50.most:.2f})"
            what = f"p50 over plain Envoy's: {name}"
            yield Verdict(what, f"at most {MOST_P50:g}x", measured, p50.median <= MOST_P50)
        if outcome.scenario.kilobytes == 1 and LITELLM in outcome.systems and unit == "request":
            times = outcome.cost_ratio(LITELLM, ROUTER).median
            what = f"CPU per request below LiteLLM's: {name}"
            bound = f"at least {LEAST_OVER_LITELLM:g}x less"
            yield Verdict(what, bound, f"{times:.0f}x", times >= LEAST_OVER_LITELLM)
    if decisions is not None:
        for what, most, p99 in (
            ("p99 of a decision at 1 KB", DECISION_MS, decisions.steady.p99),
            (
                f"p99 of a decision while {decisions.replacing.routes} routes are replaced",
                DECISION_WHILE_REPLACING_MS,
                decisions.replacing.decisions.p99,
            ),
        ):
            yield Verdict(what, f"under {most:g} ms", f"{p99:.2f} ms", p99 < most)


def _most(scenario: Scenario) -> float:
    if scenario.streamed:
        return MOST_PER_EVENT
    return 3.0 if scenario.kilobytes == 100 and scenario.connections > 1 else 2.5
