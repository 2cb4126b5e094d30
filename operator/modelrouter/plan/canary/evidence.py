"""What a canary's next status depends on, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass

from modelrouter.api.canary_status import CanaryStatus
from modelrouter.plan.canary.judging import Judgement
from modelrouter.plan.transitions import Event


@dataclass(frozen=True, slots=True)
class StepAnswer:
    """What the hooks said that are asked before a step."""

    step: int
    """The step that they were asked about: `Advance.ask_before`."""
    refusal: str = ""
    """Which of them does not let it begin, and why, for people; empty: it may begin."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a canary beside its spec and status."""

    candidate_ready: bool
    """Whether an endpoint of the candidate gets requests, or would be started for one."""
    candidate_problem: str = ""
    """Why the candidate cannot be used at all, such as `there is no ModelPool ai/next`, for people;
    empty: it can."""
    annotation: str = ""
    """The value of the annotation `modelrouter.dev/canary`, as it stands."""
    judgement: Judgement | None = None
    """Of the step that `status` tells of; None: it was not judged just now."""
    breach: str | None = None
    """The hard limit that the candidate is beyond, for people."""
    answer: StepAnswer | None = None
    """What the hooks said; None: they were not asked."""


@dataclass(frozen=True, slots=True)
class Advance:
    """What is to be done."""

    status: CanaryStatus
    """The status to write; equal to the present one where nothing happened."""
    events: tuple[Event, ...] = ()
    """Events to tell once the status is written."""
    transition: bool = False
    """Whether step, phase or weight changed, so that the hooks `OnTransition` are told."""
    ask_before: int | None = None
    """The step that is to begin once all hooks `BeforeStep` agree: ask them, and come back with
    their answer."""
    look_again_s: float = 30.0
    """Seconds after which time alone can change something."""
