"""Feedback as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from modelrouter.router.feedback.joining import FeedbackLedger


class FeedbackCollector(Collector):
    """Turns the totals into metric families at each scrape."""

    def __init__(self, ledger: FeedbackLedger) -> None:
        self._ledger = ledger

    def collect(self) -> Iterator[Metric]:
        feedback = CounterMetricFamily(
            "modelrouter_feedback",
            "Requests with feedback, by the label that it came with.",
            labels=["route", "pool", "label"],
        )
        for key, count in self._ledger.labels.items():
            feedback.add_metric(list(key), count)
        scores = SummaryMetricFamily(
            "modelrouter_feedback_score",
            "Scores of requests, 0 to 1.",
            labels=["route", "pool"],
        )
        for (route, pool), found in self._ledger.scores.items():
            scores.add_metric([route, pool], found.count, found.total)
        unknown = CounterMetricFamily(
            "modelrouter_feedback_unknown",
            "Feedback on requests that no router knows, or knows any more.",
            value=self._ledger.unknown,
        )
        yield from (feedback, scores, unknown)
