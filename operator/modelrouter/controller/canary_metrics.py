"""What the operator's metrics tell of canaries. What belongs to one ends with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from modelrouter.api.canary import Canary
from modelrouter.api.canary_status import CanaryPhase, CanaryStatus
from modelrouter.api.manifests import Key

_LABELS = ["namespace", "route"]


class CanaryMetrics(Collector):
    """Figures of all canaries of one term, made when they are asked for."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._statuses: dict[Key, CanaryStatus] = {}
        self._pauses: dict[Key, float | None] = {}
        self._transitions: dict[Key, Counter[str]] = {}
        self._analyses: dict[Key, Counter[str]] = {}

    def show(self, route: Key, spec: Canary, status: CanaryStatus) -> None:
        """This is how far the canary of a route is."""
        if route not in self._statuses:
            self._transitions.setdefault(route, Counter({phase.value: 0 for phase in CanaryPhase}))
            self._analyses.setdefault(route, Counter())
        self._statuses[route] = status
        self._pauses[route] = _pause(spec, status)

    def turned(self, route: Key, to: CanaryPhase) -> None:
        """The canary of a route took a step, or came into another phase."""
        self._transitions.setdefault(route, Counter())[to.value] += 1

    def judged(self, route: Key, outcome: str) -> None:
        """The canary of a route was analysed."""
        self._analyses.setdefault(route, Counter())[outcome] += 1

    def forget(self, route: Key) -> None:
        """A route has no canary any more."""
        for figures in (self._statuses, self._pauses, self._transitions, self._analyses):
            figures.pop(route, None)

    def collect(self) -> Iterator[Metric]:
        """All families, also empty ones."""
        weight = GaugeMetricFamily(
            "modelrouter_canary_weight",
            "Percent of the requests of a canary that each of its two pools gets.",
            labels=[*_LABELS, "pool"],
        )
        phase = GaugeMetricFamily(
            "modelrouter_canary_phase",
            "1 for the phase that the canary of a route is in, 0 for the others.",
            labels=[*_LABELS, "phase"],
        )
        age = GaugeMetricFamily(
            "modelrouter_canary_step_seconds",
            "Time since the step, or the phase that ends a canary, began.",
            labels=_LABELS,
        )
        pause = GaugeMetricFamily(
            "modelrouter_canary_step_pause_seconds",
            "Time that the step takes at least; 0 before the first, none for a step that has to be "
            "resumed.",
            labels=_LABELS,
        )
        for route, seconds in self._pauses.items():
            if seconds is not None:
                pause.add_metric(route, seconds)
        for route, status in self._statuses.items():
            weight.add_metric([*route, status.candidate], status.weight)
            weight.add_metric([*route, status.stable], 100 - status.weight)
            for each in CanaryPhase:
                phase.add_metric([*route, each.value], float(each is status.phase))
            age.add_metric(route, max((self._clock() - status.since).total_seconds(), 0.0))
        yield from (weight, phase, age, pause)
        yield _counter(
            "modelrouter_canary_transitions",
            "Steps and phases that canaries came into, by phase.",
            "to",
            self._transitions,
        )
        yield _counter(
            "modelrouter_canary_analyses",
            "Analyses of canaries, by outcome.",
            "outcome",
            self._analyses,
        )


def _pause(spec: Canary, status: CanaryStatus) -> float | None:
    if not status.step:
        return 0.0
    # Steps may have been taken out of the spec since the status was written.
    return spec.steps[min(status.step, len(spec.steps)) - 1].seconds


def _counter(
    name: str, text: str, label: str, counts: dict[Key, Counter[str]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[*_LABELS, label])
    for route, found in counts.items():
        for value, count in found.items():
            family.add_metric([*route, value], count)
    return family
