"""The levers of a canary: what its spec and the route's annotation tell it to do."""

from __future__ import annotations

import re
from dataclasses import dataclass

from modelrouter.api.canary import CANARY_ANNOTATION, Canary
from modelrouter.api.canary_status import PausedBy

_RESUME = re.compile(r"resume:([1-9][0-9]?)")
_PROMOTE = re.compile(r"promote:(\S+)")


@dataclass(frozen=True, slots=True)
class Levers:
    """What people want of a canary."""

    aborted_by: str = ""
    """What says that it is aborted, for people; empty: nothing does."""
    paused_by: PausedBy | None = None
    resumed_step: int | None = None
    """The step that may end although it has no duration."""
    promote: bool = False
    problem: str = ""
    """Why the annotation has no effect, for people; empty: it has, or there is none."""


def levers(spec: Canary, annotation: str, ignored: str) -> Levers:
    """What the spec and the annotation say together. `ignored` is what the annotation said when
    the canary began: what takes it forward is no order for this one then."""
    text = annotation.strip()
    aborted_by = "spec.canary.aborted" if spec.aborted else ""
    paused_by = PausedBy.SPEC if spec.paused else None
    resumed: int | None = None
    promote = False
    problem = ""
    named = f"the annotation {CANARY_ANNOTATION}: {text[:100]}"
    if text == "abort":
        aborted_by = aborted_by or f"the annotation {CANARY_ANNOTATION}"
    elif text == "pause":
        paused_by = paused_by or PausedBy.ANNOTATION
    elif found := _RESUME.fullmatch(text):
        resumed = int(found[1])
    elif found := _PROMOTE.fullmatch(text):
        promote = found[1] == spec.candidate
        if not promote:
            problem = f"{named} has no effect: this canary goes to {spec.candidate}"
    elif text:
        problem = (
            f"{named} is not understood: write pause, abort, resume:STEP or promote:POOL, or "
            f"remove it"
        )
    if (resumed is not None or promote) and annotation == ignored:
        resumed, promote = None, False
        problem = (
            f"{named} was there before this canary began and has no effect: remove it, and set it "
            f"again if it is meant for this one"
        )
    return Levers(aborted_by, paused_by, resumed, promote, problem)
