"""Metrics of shadow routes."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from modelrouter.router.decisions.shadowing import Shadowing


class ShadowCollector(Collector):
    """Turns the figures of shadows into metric families at each scrape."""

    def __init__(self, shadowing: Shadowing) -> None:
        self._shadowing = shadowing

    def collect(self) -> Iterator[Metric]:
        decisions = CounterMetricFamily(
            "modelrouter_shadow_decisions",
            "Requests by the pool that their route chose and the pool that a shadow of it would "
            "have chosen; empty: refused.",
            labels=["route", "shadow", "pool", "would"],
        )
        for key, count in self._shadowing.decisions.items():
            decisions.add_metric(list(key), count)
        refusals = CounterMetricFamily(
            "modelrouter_shadow_refusals",
            "Requests that a shadow would have refused, by error.",
            labels=["route", "shadow", "error"],
        )
        for refused, count in self._shadowing.refusals.items():
            refusals.add_metric(list(refused), count)
        failures = CounterMetricFamily(
            "modelrouter_shadow_failures",
            "Requests that a shadow could not decide; its log has the first one.",
            labels=["route", "shadow"],
        )
        for failed, count in self._shadowing.failures.items():
            failures.add_metric(list(failed), count)
        yield from (decisions, refusals, failures)
