"""From one state of the autoscaler to the next → what people are told of it."""

from __future__ import annotations

from typing import Any

from modelrouter.plan.scaling.deciding import Reason, ScalerState
from modelrouter.plan.transitions import Event


def scaling_status(state: ScalerState) -> dict[str, Any]:
    """`status.autoscaling` of a pool."""
    return {
        "desiredReplicas": state.replicas,
        "reason": str(state.reason),
        "message": state.message,
    }


def scaling_event(before: ScalerState, after: ScalerState) -> Event | None:
    """The Event for a transition; None: nothing that is worth one."""
    if before.replicas != after.replicas:
        reason = "ScaledUp" if after.replicas > before.replicas else "ScaledDown"
        if before.replicas == 0:
            reason = "ScaledFromZero"
        return Event(
            "Normal", reason, f"replicas {before.replicas} → {after.replicas}: {after.message}"
        )
    if before.reason is not after.reason and after.reason in (
        Reason.AT_MAXIMUM,
        Reason.LOAD_UNKNOWN,
    ):
        return Event("Warning", str(after.reason), after.message)
    return None
