"""The figures of canaries' arms as Prometheus metrics, for analyses that ask a Prometheus.

They are there while a canary runs, from 0 on: `increase` misses the first value of a series.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from modelrouter.plan.canary.measurement import FAILURE_CLASSES, Moments
from modelrouter.plan.canary.promql import (
    BOUND_BUCKETS,
    BOUNDS,
    DURATION,
    FIGURE_NAMES,
    FIGURES,
    FIRST_TOKEN,
    MOMENTS,
    REQUESTS,
    SUCCESS,
)
from modelrouter.router.measuring.measurements import Measurements

LABELS = ["route", "canary", "arm", "pool"]
_BOUND_TEXTS = [f"{bound:.6g}" for bound in BOUNDS]


class ArmCollector(Collector):
    """Turns the tallies of running canaries into metric families at each scrape."""

    def __init__(self, measurements: Measurements) -> None:
        self._measurements = measurements

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            REQUESTS,
            "Requests of a canary's arm by outcome: success, or how the arm's pool failed them.",
            labels=[*LABELS, "outcome"],
        )
        duration = HistogramMetricFamily(
            DURATION,
            "Time from a successful request of an arm to the end of its answer.",
            labels=LABELS,
        )
        first_token = HistogramMetricFamily(
            FIRST_TOKEN,
            "Time from a successful request of an arm to the first token of its stream.",
            labels=LABELS,
        )
        figures = CounterMetricFamily(
            FIGURES,
            "Figures of an arm's requests, as moments that mean and variance follow from: how many "
            "there are (n), their sum (total) and the sum of their squares.",
            labels=[*LABELS, "figure", "moment"],
        )
        for route, running in self._measurements.running.items():
            arms, config = running.timeline.so_far(), running.config
            for arm, pool, tally in (
                ("stable", config.stable, arms.stable),
                ("canary", config.candidate, arms.canary),
            ):
                labels = [route, config.id, arm, pool]
                failed = sum(tally.failures.values())
                requests.add_metric([*labels, SUCCESS], tally.requests - failed)
                for kind in FAILURE_CLASSES:
                    requests.add_metric([*labels, kind], tally.failures.get(kind, 0))
                duration.add_metric(labels, _cumulative(tally.latency), None)
                first_token.add_metric(labels, _cumulative(tally.first_token), None)
                sums = (tally.tokens_per_second, tally.cost, tally.quality)
                for name, each in zip(FIGURE_NAMES, sums, strict=True):
                    for moment, value in zip(MOMENTS, _values(each.moments), strict=True):
                        figures.add_metric([*labels, name, moment], value)
        yield from (requests, duration, first_token, figures)


def _values(moments: Moments) -> tuple[float, float, float]:
    return moments.n, moments.total, moments.squares


def _cumulative(buckets: Mapping[int, int]) -> list[tuple[str, float]]:
    """How many durations are below each bound, and all of them."""
    found: list[tuple[str, float]] = []
    below, rest = 0, sorted(buckets.items())
    for bound, text in zip(BOUND_BUCKETS, _BOUND_TEXTS, strict=True):
        while rest and rest[0][0] < bound:
            below += rest.pop(0)[1]
        found.append((text, below))
    return [*found, ("+Inf", sum(buckets.values()))]
