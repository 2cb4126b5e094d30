"""What the levers of a canary do: from its spec and status to the annotation, or why it cannot be.

An order that could hit something else than what its giver saw names it: `resume` the step,
`promote` the pool.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from modelrouter.api.canary import CANARY_ANNOTATION, Canary
from modelrouter.api.canary_status import (
    CanaryPhase,
    CanaryStatus,
    PausedBy,
    read_canary_status,
)

ENDED = (CanaryPhase.PROMOTED, CanaryPhase.ROLLED_BACK, CanaryPhase.ABORTED)
"""Phases that a canary stays in by itself."""


class LeverError(Exception):
    """The lever cannot be pulled; the message says why and what can be done."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A route's canary as the cluster has it."""

    namespace: str
    name: str
    canary: Canary
    status: CanaryStatus | None
    """None: the operator has not looked at this canary yet, or the status is of another one."""
    annotation: str
    """What the annotation says; empty: nothing."""
    up_to_date: bool
    """Whether the operator has looked at the latest generation."""

    @property
    def label(self) -> str:
        """The route, for people."""
        return f"ModelRoute {self.namespace}/{self.name}"

    @property
    def annotate(self) -> str:
        """The beginning of a command that writes the annotation."""
        return f"kubectl annotate mroute -n {self.namespace} {self.name}"


@dataclass(frozen=True, slots=True)
class Order:
    """What to write, and what to say."""

    annotation: str | None
    """The annotation's new value. None: it goes away."""
    told: str
    """For people: what happens now."""


def read_canary(found: dict[str, Any]) -> Seen:
    """The canary of a ModelRoute as the API server gave it. Raises `LeverError`."""
    metadata, spec = found["metadata"], found.get("spec") or {}
    label = f"ModelRoute {metadata['namespace']}/{metadata['name']}"
    if not isinstance(spec.get("canary"), dict):
        raise LeverError(f"{label} has no canary; describe one in spec.canary")
    try:
        canary = Canary.model_validate(spec["canary"])
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise LeverError(
            f"this version of modelrouter cannot read spec.canary of {label}: {place}: "
            f"{error.errors()[0]['msg']}; take the version that the operator has"
        ) from None
    told = found.get("status") or {}
    status = read_canary_status(told.get("canary"))
    if status is not None and status.id != canary.id:
        status = None
    return Seen(
        namespace=metadata["namespace"],
        name=metadata["name"],
        canary=canary,
        status=status,
        annotation=str((metadata.get("annotations") or {}).get(CANARY_ANNOTATION, "")),
        up_to_date=told.get("observedGeneration") == metadata.get("generation"),
    )


def pause(seen: Seen) -> Order:
    """Keep the weight as it is."""
    _must_not_have_ended(seen, "there is nothing to pause")
    if seen.annotation == "abort":
        raise LeverError(_being_aborted(seen))
    weight = seen.status.weight if seen.status is not None else 0
    return Order("pause", f"the canary stays at {weight} % until it is resumed")


def resume(seen: Seen, step: int | None = None) -> Order:
    """Go on after a pause, or end a step that has no duration. `step`: the one that is meant."""
    _must_not_have_ended(seen, "there is nothing to resume")
    if seen.annotation == "abort":
        raise LeverError(_being_aborted(seen))
    if seen.status is None:
        if seen.annotation == "pause":
            return Order(None, "the canary begins as soon as the operator has looked at it")
        raise LeverError(_not_seen(seen))
    if step is not None and step != seen.status.step:
        raise LeverError(
            f"the canary of {seen.label} is at step {seen.status.step} of {seen.status.steps}, "
            f"not at step {step}; name the step that it is at, or none"
        )
    if seen.canary.paused:
        raise LeverError(
            f"{seen.label} says spec.canary.paused: true; set it to false where its manifest is"
        )
    if seen.annotation == "pause":
        return Order(None, f"step {seen.status.step} goes on, and its pause begins anew")
    if seen.status.paused_by is PausedBy.STEP:
        order = Order(
            f"resume:{seen.status.step}",
            f"step {seen.status.step} may end, as soon as its analysis passes",
        )
        return _unless_ignored(seen, order)
    raise LeverError(
        f"the canary of {seen.label} is not paused: it is {seen.status.phase.value} at step "
        f"{seen.status.step} of {seen.status.steps}"
    )


def promote(seen: Seen) -> Order:
    """Give everything to the candidate now."""
    _must_not_have_ended(seen, "there is nothing to promote")
    if seen.canary.aborted:
        raise LeverError(
            f"{seen.label} says spec.canary.aborted: true; set it to false where its manifest is"
        )
    if seen.status is None:
        raise LeverError(_not_seen(seen))
    pool = seen.canary.candidate
    told = (
        f"everything goes to {pool} as soon as it has a ready endpoint, whatever its analysis says"
    )
    return _unless_ignored(seen, Order(f"promote:{pool}", told))


def abort(seen: Seen) -> Order:
    """Give everything back to the stable pool now."""
    return Order(
        "abort",
        f"everything goes back to {seen.canary.stable} now; to begin anew later, take the "
        f"annotation away: {seen.annotate} {CANARY_ANNOTATION}-",
    )


def _must_not_have_ended(seen: Seen, consequence: str) -> None:
    status = seen.status
    if status is None or status.phase not in ENDED:
        return
    what = f"the canary of {seen.label} has ended ({status.phase.value}), {consequence}"
    if status.phase is CanaryPhase.PROMOTED:
        raise LeverError(f"{what}: {status.message or 'take spec.canary out'}")
    if status.phase is CanaryPhase.ABORTED:
        how = "set spec.canary.aborted to false where its manifest is"
        if seen.annotation == "abort":
            how = f"{seen.annotate} {CANARY_ANNOTATION}-"
        raise LeverError(f"{what}. To begin anew: {how}")
    raise LeverError(
        f"{what}. To begin anew, name another pool in spec.canary.to, or set spec.canary.aborted "
        "to true and back to false"
    )


def _unless_ignored(seen: Seen, order: Order) -> Order:
    if seen.status is None or order.annotation != seen.status.ignored_annotation:
        return order
    raise LeverError(
        f"{seen.label} has the annotation {order.annotation} from an earlier canary, which does "
        f"not count for this one; take it away and try again: {seen.annotate} {CANARY_ANNOTATION}-"
    )


def _being_aborted(seen: Seen) -> str:
    return (
        f"the canary of {seen.label} is being aborted; to begin anew: {seen.annotate} "
        f"{CANARY_ANNOTATION}-"
    )


def _not_seen(seen: Seen) -> str:
    return (
        f"the operator has not looked at the canary of {seen.label} yet; try again in a moment, or "
        f"see: kubectl describe mroute -n {seen.namespace} {seen.name}"
    )
