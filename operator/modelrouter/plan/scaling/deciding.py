"""The built-in autoscaler: from the load of a pool to the number of its replicas.

It reckons as the HorizontalPodAutoscaler does, so that people find what they know: load divided by
target, nothing done within a tolerance of 10 %, and fewer replicas only after the highest
recommendation of a whole window says so. See
https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details.
What it knows beyond that is zero: a request starts the first replica at once, and the last one goes
when there was no request in the whole window. What is not known never takes a replica away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from modelrouter.api.autoscaling import Autoscaling
from modelrouter.plan.scaling.highest import Highest, Mark
from modelrouter.plan.scaling.load import Load

TOLERANCE = 0.1
"""A load that is off by no more than this share of the target changes nothing."""
PATIENCE_SECONDS = 15.0
"""Figures that are missing for so long are worth telling people."""


class Reason(StrEnum):
    """What decides the number of replicas, in one word for programs."""

    WITHIN_TARGET = "WithinTarget"
    AT_MINIMUM = "AtMinimum"
    AT_MAXIMUM = "AtMaximum"
    """The load asks for more than `maxReplicas`."""
    SCALED_TO_ZERO = "ScaledToZero"
    LOAD_UNKNOWN = "LoadUnknown"
    """Somebody who ought to tell the load does not: no replica is taken away."""


@dataclass(frozen=True, slots=True)
class ScalerState:
    """What the autoscaler remembers of one pool. Times are seconds of any clock."""

    replicas: int
    """How many are wanted."""
    history: Highest
    """What the load asked for, within no bounds, in the last `scaleDownDelay`."""
    missing_since: float | None = None
    """Since when figures are missing; None: none is."""
    woken: float | None = None
    """Since when the first replica starts; None: there is none, or it has started."""
    reason: Reason = Reason.WITHIN_TARGET
    message: str = ""
    """The reason for people, as it was when the reason or the number last changed."""


def begin(replicas: int, now: float) -> ScalerState:
    """Take over a pool that runs so many replicas: they have been needed until now, and may have
    just been started."""
    woken = now if replicas > 0 else None
    return ScalerState(replicas, Highest((Mark(now, replicas),), replicas), woken=woken)


def decide(
    spec: Autoscaling, state: ScalerState, load: Load, now: float, startup_seconds: float = 0.0
) -> ScalerState:
    """The next state, given the load at `now`. It is well to ask once a second or so.

    A first replica that still starts stays for `startup_seconds` even if nobody waits for it any
    more: a model that takes longer to load than `scaleDownDelay` would otherwise never be there.
    """
    woken = state.woken
    if load.ready or (woken is not None and now - woken >= startup_seconds):
        woken = None
    wanted = recommend(spec, state.replicas, load)
    if woken is not None:
        wanted = max(wanted, 1)
    history = state.history.then(wanted, now, spec.scale_down_seconds)
    highest = int(history.figure)
    replicas = min(max(highest, spec.min_replicas), spec.max_replicas)
    missing_since = None
    if not load.complete:
        missing_since = now if state.missing_since is None else state.missing_since
    if state.replicas == 0 < replicas:
        woken = now
    after = ScalerState(replicas, history, missing_since, woken, state.reason, state.message)
    reason = _reason(spec, after, highest, now)
    if (reason, replicas) == (state.reason, state.replicas) and state.message:
        return after
    return replace(after, reason=reason, message=_message(reason, spec, after, load))


def recommend(spec: Autoscaling, replicas: int, load: Load) -> int:
    """How many replicas the load asks for, within no bounds, while so many are wanted."""
    target = spec.target.value
    wanted = math.ceil(load.amount / target)
    room = target * replicas
    if replicas > 0 and abs(load.amount - room) <= TOLERANCE * room:
        wanted = replicas
    if load.requests > 0:
        wanted = max(wanted, 1)
        if spec.target.metric == "waiting_requests":
            # An empty queue does not tell how many fewer would keep it empty: try one fewer.
            wanted = max(wanted, replicas - 1)
    if not load.complete:
        wanted = max(wanted, replicas)
    return wanted


def _reason(spec: Autoscaling, state: ScalerState, highest: int, now: float) -> Reason:
    if state.missing_since is not None and now - state.missing_since >= PATIENCE_SECONDS:
        return Reason.LOAD_UNKNOWN
    if state.replicas == 0:
        return Reason.SCALED_TO_ZERO
    if highest > spec.max_replicas:
        return Reason.AT_MAXIMUM
    if highest <= spec.min_replicas:
        return Reason.AT_MINIMUM
    return Reason.WITHIN_TARGET


_LOADS = {
    "running_requests": "{:.0f} requests under way",
    "waiting_requests": "{:.0f} requests in the queues of the model servers",
    "kv_cache_percent": "{:.0f} % of a KV cache in use",
}


def _message(reason: Reason, spec: Autoscaling, state: ScalerState, load: Load) -> str:
    seen = _LOADS[spec.target.metric].format(load.amount)
    target = f"target {spec.target.value} per replica"
    if reason is Reason.LOAD_UNKNOWN:
        who = ", ".join(load.missing[:3]) + (" and others" if len(load.missing) > 3 else "")
        return (
            f"no load is told by {who}; until it is, no replica is taken away. Look at its log, "
            "and whether a NetworkPolicy keeps the operator from asking"
        )
    if reason is Reason.SCALED_TO_ZERO:
        return "there are no requests; the next one starts a replica"
    if reason is Reason.AT_MAXIMUM:
        asked = f"lately the load asked for {int(state.history.figure)} replicas"
        return f"{seen} ({target}); {asked}, and maxReplicas is {spec.max_replicas}"
    if reason is Reason.AT_MINIMUM:
        return f"{seen} ({target}): minReplicas {spec.min_replicas} is enough for that"
    number = "1 replica carries" if state.replicas == 1 else f"{state.replicas} replicas carry"
    return f"{seen} ({target}): {number} that"
