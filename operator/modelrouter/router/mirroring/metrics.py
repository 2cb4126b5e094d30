"""Mirrors as Prometheus metrics, apart from those of clients' requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from modelrouter.router.mirroring.figures import Figures
from modelrouter.router.mirroring.mirrors import Mirrors

LABELS = ["route", "pool"]


class MirrorCollector(Collector):
    """Turns figures into metric families at each scrape."""

    def __init__(self, mirrors: Mirrors) -> None:
        self._mirrors = mirrors

    def collect(self) -> Iterator[Metric]:
        figures = self._mirrors.figures
        yield from _costs("modelrouter_mirror", "Copies of requests", figures.copies)
        yield from _costs(
            "modelrouter_mirror_evaluation", "Questions to evaluators", figures.evaluations
        )
        duration = HistogramMetricFamily(
            "modelrouter_mirror_duration_seconds",
            "Time from a copy to the end of its answer.",
            labels=LABELS,
        )
        for key, each in figures.copies.items():
            duration.add_metric(list(key), list(each.duration.cumulative()), each.duration.total)
        yield duration
        yield from self._pairs()

    def _pairs(self) -> Iterator[Metric]:
        pairs = CounterMetricFamily(
            "modelrouter_mirror_pairs",
            "Answers compared with those to copies, by what came of it.",
            labels=[*LABELS, "outcome"],
        )
        verdicts = CounterMetricFamily(
            "modelrouter_mirror_verdicts", "What evaluators said.", labels=[*LABELS, "verdict"]
        )
        agreement = CounterMetricFamily(
            "modelrouter_mirror_agreement_sum",
            "Scores of compared answers, added up.",
            labels=LABELS,
        )
        scored = CounterMetricFamily(
            "modelrouter_mirror_agreement_count", "Answers that have a score.", labels=LABELS
        )
        for key, comparison in self._mirrors.comparisons.items():
            for outcome, count in comparison.outcomes.items():
                pairs.add_metric([*key, outcome.value], count)
            for verdict, count in comparison.verdicts.items():
                verdicts.add_metric([*key, verdict.value], count)
            agreement.add_metric(list(key), comparison.agreement)
            scored.add_metric(list(key), comparison.scored)
        lost = CounterMetricFamily(
            "modelrouter_mirror_lost_pairs",
            "Pairs that were not compared: one side never came, or there was no time.",
            labels=["reason"],
        )
        lost.add_metric(["incomplete"], self._mirrors.pairs.incomplete)
        lost.add_metric(["busy"], self._mirrors.comparer.dropped)
        yield from (pairs, verdicts, agreement, scored, lost)


def _costs(name: str, what: str, figures: Mapping[tuple[str, str], Figures]) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        f"{name}_requests", f"{what}, by status code.", labels=[*LABELS, "code"]
    )
    tokens = CounterMetricFamily(
        f"{name}_tokens", f"{what}: tokens as the pools reported them.",
        labels=[*LABELS, "direction"],
    )  # fmt: skip
    cost = CounterMetricFamily(
        f"{name}_cost_dollars", f"{what}: tokens by the pool's price, in US dollars.", labels=LABELS
    )
    for key, each in figures.items():
        labels = list(key)
        for code, count in each.codes.items():
            requests.add_metric([*labels, str(code)], count)
        tokens.add_metric([*labels, "prompt"], each.prompt_tokens)
        tokens.add_metric([*labels, "completion"], each.completion_tokens)
        cost.add_metric(labels, each.cost)
    yield from (requests, tokens, cost)
