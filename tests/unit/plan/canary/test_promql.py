"""Prometheus's answers become the measurement that was counted."""

from __future__ import annotations

import random
from itertools import accumulate

import pytest

from modelrouter.plan.canary import histogram
from modelrouter.plan.canary.measurement import Measurement, Moments
from modelrouter.plan.canary.promql import (
    BOUNDS,
    Question,
    Series,
    arm_queries,
    read_arm,
    render_query,
)


def exposed(buckets: dict[int, int], arm: str, factor: float = 1.0) -> Series:
    """A histogram as Prometheus has it."""
    durations = [
        histogram.GROWTH ** (bucket + 0.5) / 1000 for bucket, n in buckets.items() for _ in range(n)
    ]
    bounds = [*BOUNDS, float("inf")]
    counts = [0] * len(bounds)
    for duration in durations:
        counts[next(i for i, bound in enumerate(bounds) if duration <= bound)] += 1
    return [
        ({"arm": arm, "le": str(bound).replace("inf", "+Inf")}, count * factor)
        for bound, count in zip(bounds, accumulate(counts), strict=True)
    ]


def test_each_metric_is_asked_of_this_canary_over_the_window() -> None:
    queries = arm_queries("ai", "chat", "1a2b", 90)
    for query in queries.values():
        assert '{namespace="ai",route="chat",canary="1a2b"}[90s]' in query
    assert queries["requests"].startswith(
        "sum by (arm, outcome) (increase(modelrouter_arm_requests_total{"
    )


def test_counters_are_read_by_arm_and_rounded() -> None:
    answers: dict[Question, Series] = {
        "requests": [
            ({"arm": "canary", "outcome": "success"}, 97.6),
            ({"arm": "canary", "outcome": "serverError"}, 2.2),
            ({"arm": "canary", "outcome": "rescued"}, 0.3),
            ({"arm": "stable", "outcome": "success"}, 5000.0),
            ({"arm": "canary", "outcome": "brokenStream"}, float("nan")),
        ],
        "figures": [
            ({"arm": "canary", "figure": "cost", "moment": "n"}, 10.1),
            ({"arm": "canary", "figure": "cost", "moment": "total"}, 0.5),
            ({"arm": "canary", "figure": "cost", "moment": "squares"}, 0.03),
            ({"arm": "stable", "figure": "cost", "moment": "n"}, 1.0),
        ],
    }
    found = read_arm(answers, "canary")
    assert (found.requests, dict(found.failures)) == (100, {"serverError": 2})
    assert found.cost == Moments(10, 0.5, 0.03)
    assert found.quality == Moments()
    assert read_arm(answers, "stable").requests == 5000
    assert read_arm({}, "stable") == Measurement()


@pytest.mark.parametrize("middle", [5, 60, 130, 200, 240])
def test_a_histogram_keeps_its_count_and_its_quantiles(middle: int) -> None:
    dice = random.Random(7)
    buckets: dict[int, int] = {}
    for _ in range(500):
        bucket = max(round(dice.gauss(middle, 8)), 0)
        buckets[bucket] = buckets.get(bucket, 0) + 1
    found = read_arm({"latency": exposed(buckets, "canary")}, "canary").latency
    assert histogram.total(found) == 500
    for share in (0.5, 0.95):
        wanted, got = histogram.quantile(buckets, share), histogram.quantile(found, share)
        assert wanted is not None
        assert got == pytest.approx(wanted, rel=0.12) or (wanted < 2.2 and got is not None)


def test_estimates_that_do_not_grow_are_no_negative_counts() -> None:
    series = [
        ({"arm": "canary", "le": "0.1"}, 5.2),
        ({"arm": "canary", "le": "0.2"}, 5.1),
        ({"arm": "canary", "le": "+Inf"}, 8.0),
    ]
    found = read_arm({"latency": series}, "canary").latency
    assert histogram.total(found) == 8
    assert min(found.values()) > 0


def test_placeholders_are_filled_in() -> None:
    values = {"namespace": "ai", "pool": "next", "window": "90s"}
    query = 'x{ns="{{namespace}}",pool="{{pool}}"}[{{window}}] {{other}}'
    assert render_query(query, values) == 'x{ns="ai",pool="next"}[90s] {{other}}'
