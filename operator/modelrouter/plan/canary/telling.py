"""What the status of a canary tells people."""

from __future__ import annotations

from modelrouter.api.canary import CANARY_ANNOTATION, Canary
from modelrouter.api.canary_status import AnalysisOutcome, CanaryPhase, CanaryStatus, PausedBy
from modelrouter.api.rule import IMPLICIT_RULE


def summary(phase: CanaryPhase, weight: int) -> str:
    """Phase and weight in short, as a column of `kubectl get`."""
    return f"{phase.value} {weight}%" if phase.running else phase.value


def promoted(spec: Canary) -> str:
    """What is to be changed in the spec now that the candidate gets everything."""
    old, new, rule = spec.stable, spec.candidate, spec.rule_name
    if not spec.match.is_empty:
        return (
            f"{new} gets all requests that spec.canary.match is about. To make it last, put a rule "
            f"with these conditions and {new} in place of {old} before rule {rule}, and remove "
            f"canary"
        )
    if rule == IMPLICIT_RULE and spec.rule is None:
        change = f"put {new} in place of {old} at the head of spec.pools"
    else:
        change = f"put {new} in place of {old} in the targets of rule {rule}"
    return f"{new} gets all requests of {old}. To make it last, {change} and remove canary"


def waiting_for_resume(status: CanaryStatus) -> str:
    """How a step without a duration is ended."""
    return (
        f"step {status.step} of {status.steps} at {status.weight} % waits to be resumed: annotate "
        f"the route with {CANARY_ANNOTATION}=resume:{status.step}"
    )


def running(spec: Canary, status: CanaryStatus) -> str:
    """What a canary that has not ended is doing."""
    if status.paused_by in (PausedBy.SPEC, PausedBy.ANNOTATION):
        lever = "spec.canary.paused"
        if status.paused_by is PausedBy.ANNOTATION:
            lever = f"the annotation {CANARY_ANNOTATION}"
        return f"paused by {lever}; take that back to go on"
    if not status.step:
        return "is about to begin"
    parts = [f"step {status.step} of {status.steps}"]
    if status.paused_by is PausedBy.STEP:
        parts = [waiting_for_resume(status)]
    if status.analysis is not AnalysisOutcome.NONE and status.analysis_message:
        parts.append(status.analysis_message)
    if status.failures:
        parts.append(
            f"{status.failures} of {spec.analysis.failures_before_rollback} failed analyses in a "
            f"row before it is rolled back"
        )
    return "; ".join(parts)
