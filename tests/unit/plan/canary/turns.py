"""A canary that is looked at again and again, so that tests say only what matters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from modelrouter.api.canary import Canary
from modelrouter.api.canary_status import (
    AnalysisOutcome,
    CanaryStatus,
    CheckResult,
    read_canary_status,
)
from modelrouter.plan.canary.advancing import advance
from modelrouter.plan.canary.evidence import Advance, Evidence, StepAnswer
from modelrouter.plan.canary.judging import CheckOutcome, Judgement

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PASSING = Judgement(AnalysisOutcome.PASSING)
FAILING = Judgement(
    AnalysisOutcome.FAILING,
    (CheckOutcome("successRate", "min 0.99", CheckResult.FAIL, 0.8, 0.999),),
    "successRate is 0.8, which is below 0.99",
)
INCONCLUSIVE = Judgement(AnalysisOutcome.INCONCLUSIVE, (), "12 requests of 200")
CHECKED = {"checks": [{"metric": "successRate", "min": "0.99"}]}


def canary(**changes: Any) -> Canary:
    """5, 25, 50 %, ten minutes each, without checks."""
    spec: dict[str, Any] = {
        "rule": "default",
        "from": "old",
        "to": "new",
        "steps": [{"weight": weight, "pause": "10m"} for weight in (5, 25, 50)],
    }
    return Canary.model_validate(spec | changes)


def steps(*given: int | tuple[int, str]) -> list[dict[str, Any]]:
    """Steps of these weights; with a duration where one is given."""
    return [
        {"weight": step} if isinstance(step, int) else {"weight": step[0], "pause": step[1]}
        for step in given
    ]


class Turns:
    """A canary, and the time. Each status is written and read back as the cluster does it."""

    def __init__(self, spec: Canary) -> None:
        self.spec = spec
        self.now = NOON
        self.annotation = ""
        self.status: CanaryStatus | None = None
        self.told: list[str] = []
        """The reasons of Events, in order."""
        self.messages: list[str] = []

    def look(self, **evidence: Any) -> Advance:
        """Look at it now, write the status, and tell what happened."""
        known = Evidence(**({"candidate_ready": True, "annotation": self.annotation} | evidence))
        found = advance(self.spec, self.status, known, self.now)
        self.status = read_canary_status(found.status.document())
        assert self.status == found.status, "a status reads back as it was written"
        self.told += [event.reason for event in found.events]
        self.messages += [event.message for event in found.events]
        return found

    def after(self, minutes: float, **evidence: Any) -> str:
        """Look at it so much later; phase, step and weight."""
        self.now += timedelta(minutes=minutes)
        self.look(**evidence)
        return self.where

    @property
    def current(self) -> CanaryStatus:
        assert self.status is not None
        return self.status

    @property
    def where(self) -> str:
        """Phase, step and weight in short."""
        return f"{self.current.phase} {self.current.step} {self.current.weight}%"

    def agree(self, step: int) -> StepAnswer:
        return StepAnswer(step)
