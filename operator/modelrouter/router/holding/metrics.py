"""Waiting as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from modelrouter.router.holding.room import WaitingRoom


class WaitingCollector(Collector):
    """Turns what the room counts into metric families at each scrape."""

    def __init__(self, room: WaitingRoom) -> None:
        self._room = room

    def collect(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily(
            "modelrouter_pool_waiting",
            "Requests that wait in this router for the first endpoint of a pool at zero.",
            labels=["pool"],
        )
        for pool in self._room.scalings:
            waiting.add_metric([pool], self._room.waiting.get(pool, 0))
        ended = CounterMetricFamily(
            "modelrouter_waited_requests",
            "Requests that have waited for a pool at zero, by what became of them.",
            labels=["pool", "result"],
        )
        for key, count in self._room.ended.items():
            ended.add_metric(list(key), count)
        seconds = HistogramMetricFamily(
            "modelrouter_waiting_seconds",
            "Time from the request until it was sent on or given up.",
            labels=["pool"],
        )
        for pool, histogram in self._room.seconds.items():
            seconds.add_metric([pool], list(histogram.cumulative()), histogram.total)
        yield from (waiting, ended, seconds)
