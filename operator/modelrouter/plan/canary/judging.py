"""Analysis and measurements of both arms → how the candidate does.

A check passes while the candidate's figure keeps its bound. It fails only if the figure is beyond
it and a test says that this is no chance (`significance`, by the levels of `levels`). Beyond, but
possibly by chance: inconclusive, so that the step goes on and gathers more requests. The same if
there are too few of them: then the figure says nothing either way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from modelrouter.api.canary_analysis import CanaryAnalysis, CanaryCheck, HardLimit
from modelrouter.api.canary_status import AnalysisOutcome, CheckResult, CheckStatus
from modelrouter.plan.canary.figures import Figure, figure_of
from modelrouter.plan.canary.levels import HARD_LIMIT_LEVEL, level
from modelrouter.plan.canary.measurement import Measurement

FEWEST_VALUES = 30
"""A figure of fewer values is none, unless `minRequests` is lower still. Feedback, for instance, is
given for few of the requests."""
_FIELD_OF = {
    "min": "min",
    "max": "max",
    "min_ratio_to_stable": "minRatioToStable",
    "max_ratio_to_stable": "maxRatioToStable",
}


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """How one check went."""

    name: str
    bound: str
    """The check's bound, such as `maxRatioToStable 1.2`."""
    outcome: CheckResult
    value: float | None = None
    """The candidate's figure: rates from 0 to 1, durations in seconds. None: there is none."""
    stable: float | None = None
    """The stable pool's."""
    message: str = ""
    """Why it did not pass."""

    @property
    def status(self) -> CheckStatus:
        """As `status.canary.checks` has it."""
        return CheckStatus(
            name=self.name,
            value=_text(self.value),
            stable=_text(self.stable),
            bound=self.bound,
            outcome=self.outcome,
        )


@dataclass(frozen=True, slots=True)
class Judgement:
    """How an analysis went."""

    outcome: AnalysisOutcome
    checks: tuple[CheckOutcome, ...] = ()
    message: str = ""
    """Of those checks that did not pass, why."""


def bound_text(check: CanaryCheck) -> str:
    """The bound of a check as manifests name it, such as `maxRatioToStable 1.2`."""
    return f"{_FIELD_OF[check.kind]} {check.bound}"


def judge(
    analysis: CanaryAnalysis,
    stable: Measurement,
    candidate: Measurement,
    custom: Mapping[str, tuple[float | None, float | None]],
    *,
    steps: int = 1,
    age: float = 0.0,
) -> Judgement:
    """Judge the candidate by what was measured of both arms over the same window.

    `custom` has, by the label of a check, the candidate's and the stable pool's figure from
    elsewhere, such as the answer of a query. What they vary by is unknown, so that they count as
    they are. `steps` is how many steps the canary has, `age` how many seconds ago the current one
    began.
    """
    tests = sum(check.label not in custom and check.query is None for check in analysis.checks)
    enough = level(analysis, tests, steps, candidate.requests, age)
    few = _too_few(analysis, candidate)
    checks: list[CheckOutcome] = []
    for check in analysis.checks:
        if check.metric is None or check.label in custom:
            outcome = _judge_custom(check, *custom.get(check.label, (None, None)))
        else:
            arms = figure_of(check.metric, candidate), figure_of(check.metric, stable)
            outcome = _judge_figure(check, *arms, min(analysis.min_requests, FEWEST_VALUES), enough)
        if few:
            outcome = replace(outcome, outcome=CheckResult.INCONCLUSIVE, message="")
        checks.append(outcome)
    results = {check.outcome for check in checks}
    messages = [check.message for check in checks if check.message]
    if CheckResult.FAIL in results:
        messages = [check.message for check in checks if check.outcome is CheckResult.FAIL]
        return Judgement(AnalysisOutcome.FAILING, tuple(checks), "; ".join(messages))
    if CheckResult.INCONCLUSIVE in results:
        return Judgement(AnalysisOutcome.INCONCLUSIVE, tuple(checks), few or "; ".join(messages))
    return Judgement(AnalysisOutcome.PASSING, tuple(checks))


def breach(hard_limits: Sequence[HardLimit], recent: Mapping[int, Measurement]) -> str | None:
    """The first hard limit that the candidate is beyond, told for people; None: there is none.

    `recent` has the candidate's measurement by the window's seconds. Here, too, chance must not
    explain it: a limit of 20 % is breached by 9 failed requests of 20 or by 31 of 100, which a
    candidate that fails 20 % in truth has in less than 1 of 100 looks.
    """
    for limit in hard_limits:
        measured = recent.get(limit.window_seconds)
        if measured is None or measured.requests < limit.min_requests:
            continue
        figure, bound, above = figure_of(limit.metric, measured), float(limit.bound), not limit.min
        value = figure.value
        if value is None or figure.n < min(limit.min_requests, FEWEST_VALUES):
            continue
        if _beyond(value, bound, above) and figure.chance(bound, above=above) < HARD_LIMIT_LEVEL:
            kind = "max" if above else "min"
            return (
                f"{limit.metric} was {_text(value)} in {limit.window} ({measured.requests} "
                f"requests), beyond the hard limit {kind} {limit.bound}"
            )
    return None


def _too_few(analysis: CanaryAnalysis, candidate: Measurement) -> str:
    if candidate.requests >= analysis.min_requests:
        return ""
    return (
        f"the candidate has had {candidate.requests} of the {analysis.min_requests} requests that "
        "analysis.minRequests asks for"
    )


def _judge_figure(
    check: CanaryCheck, candidate: Figure, stable: Figure, fewest: int, enough: float
) -> CheckOutcome:
    value, other = candidate.value, stable.value
    kind, relative = check.kind, check.relative
    outcome = CheckOutcome(check.label, bound_text(check), CheckResult.PASS, value, other)
    if value is None or candidate.n < fewest:
        return _inconclusive(
            outcome, f"only {candidate.n} values of the candidate, {fewest} needed"
        )
    if relative and (other is None or stable.n < fewest):
        told = f"only {stable.n} values of the stable pool, {fewest} needed for a ratio to it"
        return _inconclusive(outcome, told)
    given, above = float(check.bound), kind.startswith("max")
    bound = given * (other or 0.0) if relative else given
    if not _beyond(value, bound, above):
        return outcome
    if relative:
        chance = candidate.chance_to(stable, given, above=above)
    else:
        chance = candidate.chance(given, above=above)
    if chance >= enough:
        return _inconclusive(
            outcome,
            f"{_compared(outcome)}, which may be chance (p {chance:.2g}, not below {enough:.1g}): "
            "more requests will tell",
        )
    told = f"{_compared(outcome)}, which is no chance (p {chance:.1g})"
    return replace(outcome, outcome=CheckResult.FAIL, message=told)


def _judge_custom(check: CanaryCheck, value: float | None, other: float | None) -> CheckOutcome:
    outcome = CheckOutcome(
        check.label,
        bound_text(check),
        CheckResult.PASS,
        _finite(value),
        _finite(other),
    )
    if outcome.value is None:
        return _inconclusive(outcome, "no figure of the candidate")
    if check.relative and outcome.stable is None:
        return _inconclusive(outcome, "no figure of the stable pool")
    bound = float(check.bound) * (outcome.stable or 0.0 if check.relative else 1.0)
    if not _beyond(outcome.value, bound, check.kind.startswith("max")):
        return outcome
    return replace(outcome, outcome=CheckResult.FAIL, message=_compared(outcome))


def _inconclusive(outcome: CheckOutcome, why: str) -> CheckOutcome:
    told = why if why.startswith(outcome.name) else f"{outcome.name}: {why}"
    return replace(outcome, outcome=CheckResult.INCONCLUSIVE, message=told)


def _compared(outcome: CheckOutcome) -> str:
    """Such as `errorRate 0.041 is beyond maxRatioToStable 1.5 (stable: 0.0102)`."""
    told = f"{outcome.name} {_text(outcome.value)} is beyond {outcome.bound}"
    return told + (f" (stable: {_text(outcome.stable)})" if "Ratio" in outcome.bound else "")


def _beyond(value: float, bound: float, above: bool) -> bool:
    slack = 1e-9 * abs(bound)  # a ratio times a figure may be off in its last digit
    return value > bound + slack if above else value < bound - slack


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _text(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.4g}"
