"""What the operator answers when KEDA asks for the load of a pool.

KEDA looks at one moment now and then, so a request that came and went in between would not count:
the answer is the highest load of the last seconds. And as it knows nothing of models that take
long to load, a pool whose first replica starts is told to have a request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelrouter.api.autoscaling import TargetMetric
from modelrouter.plan.scaling.highest import Highest
from modelrouter.plan.scaling.keda import FIGURES, POLLING_SECONDS, REQUESTS
from modelrouter.plan.scaling.load import Load

MEMORY_SECONDS = 3.0 * POLLING_SECONDS
"""How far back the answer looks: KEDA does not ask as punctually as it is told to."""


@dataclass(frozen=True, slots=True)
class LoadMemory:
    """The load of one pool over the last seconds."""

    requests: Highest = field(default_factory=Highest)
    woken: float | None = None
    """Since when the first replica starts; None: there is none, or it has started."""


def remember(memory: LoadMemory, load: Load, now: float, startup_seconds: float) -> LoadMemory:
    """The load at `now` is known."""
    woken = memory.woken
    if load.ready or (woken is not None and now - woken >= startup_seconds):
        woken = None
    elif woken is None and load.requests > 0:
        woken = now
    return LoadMemory(memory.requests.then(load.requests, now, MEMORY_SECONDS), woken)


def answer(memory: LoadMemory, metric: TargetMetric, load: Load) -> Mapping[str, float]:
    """The figures for KEDA, of a load that is known completely and has just been remembered."""
    requests = memory.requests.figure
    if memory.woken is not None:
        requests = max(requests, 1)
    told = {REQUESTS: requests}
    told[FIGURES[metric]] = requests if metric == "running_requests" else load.amount
    return told
