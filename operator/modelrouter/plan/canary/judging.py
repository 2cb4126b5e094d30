"""Analysis and measurements of both arms → how the candidate does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelrouter.api.canary_analysis import CanaryAnalysis, HardLimit
from modelrouter.api.canary_status import AnalysisOutcome, CheckResult, CheckStatus
from modelrouter.plan.canary.measurement import Measurement


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

    `custom` has, by the name of a check, the candidate's and the stable pool's figure from
    elsewhere, such as the answer of a query. `steps` is how many steps the canary has, `age` how
    many seconds ago the current one began.
    """
    raise NotImplementedError


def breach(hard_limits: Sequence[HardLimit], recent: Mapping[int, Measurement]) -> str | None:
    """The first hard limit that the candidate is beyond, told for people; None: there is none.

    `recent` has the candidate's measurement by the window's seconds.
    """
    raise NotImplementedError


def _text(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.4g}"
