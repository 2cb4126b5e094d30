"""Analysis and measurements of both arms → how the candidate does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from modelrouter.plan.canary.measurement import Measurement

if TYPE_CHECKING:
    from modelrouter.api.canary import Analysis, HardLimit


class Outcome(StrEnum):
    """Of one check, or of all of them."""

    PASS = "Pass"
    FAIL = "Fail"
    INCONCLUSIVE = "Inconclusive"


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """How one check went."""

    name: str
    outcome: Outcome
    value: float | None = None
    """The candidate's figure: rates from 0 to 1, durations in seconds. None: there is none."""
    stable: float | None = None
    """The stable pool's."""
    bound: float | None = None
    """The limit that the candidate's figure was held against: of a ratio, times `stable`."""
    message: str = ""
    """Why it did not pass."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """How an analysis went."""

    outcome: Outcome
    checks: tuple[CheckOutcome, ...] = ()
    message: str = ""
    """Of those checks that did not pass, why."""


def judge(
    analysis: Analysis,
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
