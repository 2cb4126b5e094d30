"""The health of the agent's watches as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from modelrouter.kube.watching import WatchHealth

Watches = Callable[[], Iterator[tuple[str, WatchHealth]]]


class WatchCollector(Collector):
    """Figures of each watch, by what it watches."""

    def __init__(self, watches: Watches) -> None:
        self._watches = watches

    def collect(self) -> Iterator[Metric]:
        connected = GaugeMetricFamily(
            "modelrouter_watch_connected",
            "1 while the API server tells of changes, 0 while it cannot be reached.",
            labels=["resource"],
        )
        counters = {
            name: CounterMetricFamily(f"modelrouter_watch_{name}", text, labels=["resource"])
            for name, text in _COUNTERS.items()
        }
        for resource, health in self._watches():
            connected.add_metric([resource], float(health.connected))
            for name, family in counters.items():
                family.add_metric([resource], float(getattr(health, name)))
        yield connected
        yield from counters.values()


_COUNTERS = {
    "changes": "Changes heard of.",
    "failures": "Failed lists and watches.",
    "lists": "Full lists, one at the start and one after each gap.",
}
