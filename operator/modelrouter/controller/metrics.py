"""What the operator counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


Read = Callable[[], Mapping[tuple[str, ...], float]]
"""Gives figures by the values of their labels."""


class OperatorMetrics:
    """Counters of one operator process."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.reconciles = Counter(
            "modelrouter_reconcile",
            "Keys worked on, by queue and result.",
            ["queue", "result"],
            registry=self.registry,
        )
        self.reconcile_seconds = Histogram(
            "modelrouter_reconcile_seconds",
            "Time to work on one key.",
            ["queue"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.writes = Counter(
            "modelrouter_writes",
            "Requests that change something in the cluster, by kind, verb and result.",
            ["kind", "verb", "result"],
            registry=self.registry,
        )
        self.programmed_seconds = Histogram(
            "modelrouter_programmed_seconds",
            "Time from writing a configuration to the last router pod's acknowledgement.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.leader = Gauge(
            "modelrouter_leader", "1 while this process is the leader.", registry=self.registry
        )
        self.events = Counter(
            "modelrouter_events",
            "Kubernetes Events, by result.",
            ["result"],
            registry=self.registry,
        )

    def worked(self, queue: str, seconds: float, error: BaseException | None) -> None:
        """A key of a queue was worked on."""
        self.reconciles.labels(queue, "error" if error else "success").inc()
        self.reconcile_seconds.labels(queue).observe(seconds)

    def observe_gauge(self, name: str, text: str, labels: Sequence[str], read: Read) -> Collector:
        """Report figures that are read when they are asked for, by their labels' values."""
        collector = _Readings(name, text, labels, read)
        self.registry.register(collector)
        return collector

    def forget_gauge(self, collector: Collector) -> None:
        """Stop reporting such figures."""
        self.registry.unregister(collector)


class _Readings(Collector):
    def __init__(self, name: str, text: str, labels: Sequence[str], read: Read) -> None:
        self._name, self._text, self._labels, self._read = name, text, labels, read

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(self._name, self._text, labels=self._labels)
        for values, figure in self._read().items():
            family.add_metric(values, figure)
        yield family
