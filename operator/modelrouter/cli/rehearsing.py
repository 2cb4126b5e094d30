"""`modelrouter canary simulate`: what an analysis makes of candidates that are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelrouter.api.canary import Canary
from modelrouter.api.canary_status import CanaryPhase
from modelrouter.api.manifests import load_manifests
from modelrouter.plan.canary.judging import bound_text
from modelrouter.plan.canary.simulating import PATIENCE, Behaviour, Tally, tally

CHECKS = (
    {"metric": "successRate", "minRatioToStable": "0.99"},
    {"metric": "p95Latency", "maxRatioToStable": "1.1"},
)
"""Without manifests: what most canaries need, and far enough from equal to decide soon."""


class RehearsalError(Exception):
    """There is nothing to simulate; the message says why."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """One canary, and the traffic to simulate."""

    canary: Canary
    requests: int
    """Of the candidate, in the time that a step takes at least."""
    seeds: int
    """Canaries to simulate for each candidate, with the seeds from 0 on."""
    stable_error_rate: float
    candidate_error_rate: float
    latency_factor: float

    @property
    def candidates(self) -> list[tuple[str, Behaviour, bool]]:
        """Each with its description, and whether it ought to be rolled back."""
        base, worse, factor = self.stable_error_rate, self.candidate_error_rate, self.latency_factor
        return [
            ("equal", Behaviour(base), False),
            (f"errors {base:.3g} → {worse:.3g}", Behaviour(worse), worse > base),
            (f"latency times {factor:.3g}", Behaviour(base, factor), factor > 1),
        ]


def ready_made(steps: Sequence[int], min_requests: int) -> Canary:
    """A canary with `CHECKS`. Raises ValueError if the steps are none."""
    return Canary.model_validate(
        {
            "from": "stable",
            "to": "candidate",
            "steps": [{"weight": weight, "pause": "2m"} for weight in steps],
            "analysis": {"minRequests": min_requests, "checks": list(CHECKS)},
        }
    )


def canary_of(files: Sequence[Path], route: str) -> Canary:
    """The canary of a route in manifests; `route` may be empty if only one has a canary."""
    manifests = load_manifests(files)
    if manifests.problems:
        raise RehearsalError("\n".join(str(problem) for problem in manifests.problems))
    found = {
        item.metadata.name: item.spec.canary
        for item in manifests.routes.values()
        if item.spec.canary is not None and route in ("", item.metadata.name)
    }
    if len(found) != 1:
        names = ", ".join(sorted(found)) or "none"
        raise RehearsalError(f"one route with a canary is needed, found {names}: give --route")
    canary = next(iter(found.values()))
    if (
        not any(check.metric for check in canary.analysis.checks)
        and not canary.analysis.hard_limits
    ):
        raise RehearsalError("its analysis has no check with a metric: there is nothing to find")
    return canary


def rehearse(rehearsal: Rehearsal) -> list[str]:
    """Simulate, and tell what came of it, line by line."""
    lines = [_conditions(rehearsal), ""]
    lines.append(
        f"{'candidate':<20}{'promoted':>10}{'rolled back':>13}{'undecided':>11}"
        f"{'requests to decide: median':>29}{'p95':>8}"
    )
    verdicts = []
    stable = Behaviour(rehearsal.stable_error_rate)
    for name, candidate, bad in rehearsal.candidates:
        found = tally(rehearsal.canary, stable, candidate, rehearsal.requests, rehearsal.seeds)
        lines.append(_line(name, found))
        verdicts.append(_verdict(name, found, bad))
    return [*lines, "", *verdicts]


def _conditions(rehearsal: Rehearsal) -> str:
    analysis = rehearsal.canary.analysis
    weights = ", ".join(str(step.weight) for step in rehearsal.canary.steps)
    checks = ", ".join(f"{check.label} {bound_text(check)}" for check in analysis.checks)
    return (
        f"{rehearsal.seeds} canaries each; steps {weights} %; {rehearsal.requests} requests of the "
        f"candidate a step at least, {PATIENCE * rehearsal.requests} at most; minRequests "
        f"{analysis.min_requests}; {checks or 'hard limits only'}"
    )


def _line(name: str, found: Tally) -> str:
    shares = [found.share(CanaryPhase.PROMOTED), found.share(CanaryPhase.ROLLED_BACK)]
    return (
        f"{name:<20}{shares[0]:>10.1%}{shares[1]:>13.1%}{found.share(None):>11.1%}"
        f"{found.requests(0.5):>29,}{found.requests(0.95):>8,}"
    )


def _verdict(name: str, found: Tally, bad: bool) -> str:
    rolled_back = found.share(CanaryPhase.ROLLED_BACK)
    if bad:
        promoted = found.share(CanaryPhase.PROMOTED)
        return f"{name}: detected {rolled_back:.1%}, falsely promoted {promoted:.1%}"
    return f"{name}: falsely rolled back {rolled_back:.1%}"
