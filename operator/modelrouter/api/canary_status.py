"""`status.canary`: how far a canary got. The operator decides by it what comes next."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_serializer

from modelrouter.api.admission import LIST_OF_ONE_OWNER
from modelrouter.api.metadata import ObjectName
from modelrouter.api.pool_name import PoolName
from modelrouter.api.strictness import StrictModel


class CanaryPhase(StrEnum):
    """Where a canary stands."""

    PENDING = "Pending"
    """It cannot begin yet."""
    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    """The weight stays until a person goes on."""
    PROMOTED = "Promoted"
    """The candidate gets everything."""
    ROLLED_BACK = "RolledBack"
    """The candidate has failed; the stable pool gets everything."""
    ABORTED = "Aborted"
    """A person has ended it; the stable pool gets everything."""

    @property
    def running(self) -> bool:
        """Whether the two sides are told apart and measured."""
        return self in (CanaryPhase.PROGRESSING, CanaryPhase.PAUSED)


class AnalysisOutcome(StrEnum):
    """What the last analysis of a step came to."""

    NONE = ""
    """There was none in this step."""
    PASSING = "Passing"
    FAILING = "Failing"
    INCONCLUSIVE = "Inconclusive"


class CheckResult(StrEnum):
    """What a check came to."""

    PASS = "Pass"
    FAIL = "Fail"
    INCONCLUSIVE = "Inconclusive"


class PausedBy(StrEnum):
    """Who keeps a canary from going on."""

    SPEC = "Spec"
    """`spec.canary.paused`."""
    ANNOTATION = "Annotation"
    """The annotation `modelrouter.dev/canary: pause`."""
    STEP = "Step"
    """A step without a duration."""


Figure = Annotated[str, Field(max_length=32)]
"""A number as text; empty: unknown."""


class CheckStatus(StrictModel):
    """What one check of the last analysis came to."""

    name: Annotated[str, Field(max_length=63)]
    """The metric, or the query's name."""
    value: Figure = ""
    """The candidate's figure."""
    stable: Figure = ""
    """The stable pool's figure in the same window."""
    bound: Annotated[str, Field(max_length=64)]
    """The bound, such as `max 0.2` or `maxRatioToStable 1.2`."""
    outcome: CheckResult
    """`Pass`, `Fail` or `Inconclusive`."""


class CanaryStatus(StrictModel):
    """How far the canary got."""

    phase: CanaryPhase
    """`Pending`, `Progressing`, `Paused`, `Promoted`, `RolledBack` or `Aborted`."""
    id: Annotated[str, Field(max_length=16)]
    """Changes with `rule`, `from`, `to` and `match`: with another one the canary begins anew."""
    rule: ObjectName
    """The rule whose targets it shifts."""
    stable: Annotated[PoolName, Field(alias="from")]
    """The pool that requests are taken from."""
    candidate: Annotated[PoolName, Field(alias="to")]
    """The pool that gets them."""
    step: Annotated[int, Field(ge=0, le=32)] = 0
    """The present step, counted from 1; 0: before the first."""
    steps: Annotated[int, Field(ge=1, le=32)]
    """How many steps there are."""
    weight: Annotated[int, Field(ge=0, le=100)] = 0
    """The weight in force: percent of the requests of `from` that `to` gets."""
    summary: Annotated[str, Field(max_length=32)] = ""
    """Phase and weight in short, such as `Progressing 25%`."""
    since: datetime
    """When the step or, at the end, the phase began."""
    failures: Annotated[int, Field(ge=0)] = 0
    """Failed analyses in a row."""
    analysis: AnalysisOutcome = AnalysisOutcome.NONE
    """The last analysis of this step: `Passing`, `Failing` or `Inconclusive`; empty: none yet."""
    checks: Annotated[list[CheckStatus], Field(max_length=16), LIST_OF_ONE_OWNER] = []
    """The checks of the last analysis."""
    analysis_message: Annotated[str, Field(max_length=8192)] = ""
    """Why the last analysis did not pass, for people."""
    judged: datetime | None = None
    """When the last analysis was made."""
    paused_by: PausedBy | None = None
    """Who keeps it from going on: `Spec`, `Annotation` or `Step`, which waits to be resumed."""
    overdue: bool = False
    """The step has lasted long enough, but there was too little to judge the candidate by."""
    ignored_annotation: Annotated[str, Field(max_length=256)] = ""
    """What the annotation `modelrouter.dev/canary` said when this canary began: `resume` and
    `promote` given for an earlier one do not count until the annotation changes."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """What is going on, and what to do, for people."""

    @field_serializer("since", "judged")
    def _to_the_millisecond(self, moment: datetime | None) -> str | None:
        if moment is None:
            return None
        text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
        return text.replace("+00:00", "Z")

    def document(self) -> dict[str, Any]:
        """Plain data as it stands in `status.canary`. What says nothing is left out, except that
        `step`, `weight` and `failures` are always there."""
        content = self.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
        for name in ("step", "weight", "failures"):
            content[name] = getattr(self, name)
        return content


def read_canary_status(document: object) -> CanaryStatus | None:
    """`status.canary` as it was read from the cluster; None: there is none, or it was not written
    by this version."""
    if not isinstance(document, dict):
        return None
    try:
        return CanaryStatus.model_validate(document)
    except ValidationError:
        return None
