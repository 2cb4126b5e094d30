"""The figures of a canary's arms by way of Prometheus: the queries, and how answers are read.

Agents count the requests of each arm in metrics of their own. Whatever the source, the result is a
`Measurement`, so the same checks with the same significance apply.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from modelrouter.plan.canary.histogram import GROWTH, LAST_BUCKET
from modelrouter.plan.canary.measurement import FAILURE_CLASSES, Measurement, Moments

REQUESTS = "modelrouter_arm_requests"
"""Counter by arm and `outcome`: `success` or a class of failures."""
DURATION = "modelrouter_arm_duration_seconds"
"""Histogram by arm."""
FIRST_TOKEN = "modelrouter_arm_first_token_seconds"
"""Histogram by arm."""
FIGURES = "modelrouter_arm_figures"
"""Counter by arm, `figure` (as in FIGURE_NAMES) and `moment` (as in MOMENTS)."""
SUCCESS = "success"
FIGURE_NAMES = ("tokensPerSecond", "cost", "quality")
MOMENTS = ("n", "total", "squares")

BUCKETS_MERGED = 4
"""So many buckets of a measurement make one of the histograms in Prometheus: their bounds grow by
1.05^4, or 22 %."""
BOUND_BUCKETS = tuple(range(BUCKETS_MERGED * 4, 268, BUCKETS_MERGED))
"""The buckets at whose lower end the bounds of these histograms are: 2 ms to 6 minutes."""
BOUNDS = tuple(GROWTH**bucket / 1000 for bucket in BOUND_BUCKETS)
"""These bounds in seconds; above them is `+Inf`."""

Question = Literal["requests", "latency", "firstToken", "figures"]
QUESTIONS: tuple[Question, ...] = get_args(Question)
Series = Iterable[tuple[Mapping[str, str], float]]
"""Labels and value of each series of an answer."""

_PLACEHOLDER = re.compile(r"\{\{([a-zA-Z]+)\}\}")


def arm_queries(namespace: str, route: str, canary: str, seconds: int) -> dict[Question, str]:
    """What to ask Prometheus for the last seconds of a canary, by its id.

    https://prometheus.io/docs/prometheus/latest/querying/functions/#increase
    """
    of = f'{{namespace="{namespace}",route="{route}",canary="{canary}"}}[{seconds}s]'
    return {
        "requests": f"sum by (arm, outcome) (increase({REQUESTS}_total{of}))",
        "latency": f"sum by (arm, le) (increase({DURATION}_bucket{of}))",
        "firstToken": f"sum by (arm, le) (increase({FIRST_TOKEN}_bucket{of}))",
        "figures": f"sum by (arm, figure, moment) (increase({FIGURES}_total{of}))",
    }


def render_query(query: str, values: Mapping[str, str]) -> str:
    """A query of a check with its `{{placeholders}}` filled in; unknown ones stay."""
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), query)


def read_arm(answers: Mapping[Question, Series], arm: str) -> Measurement:
    """The measurement of an arm: `stable` or `canary`.

    `increase` gives fractions, because it estimates what happened up to the ends of the window:
    they are rounded.
    """
    outcomes: dict[str, int] = {}
    for labels, value in _of(answers.get("requests", ()), arm):
        outcomes[labels.get("outcome", "")] = max(round(value), 0)
    failures = {kind: outcomes[kind] for kind in FAILURE_CLASSES if outcomes.get(kind)}
    moments: dict[str, dict[str, float]] = {}
    for labels, value in _of(answers.get("figures", ()), arm):
        moments.setdefault(labels.get("figure", ""), {})[labels.get("moment", "")] = value
    figures = [_moments(moments.get(name, {})) for name in FIGURE_NAMES]
    return Measurement(
        outcomes.get(SUCCESS, 0) + sum(failures.values()),
        failures,
        _buckets(_of(answers.get("latency", ()), arm)),
        _buckets(_of(answers.get("firstToken", ()), arm)),
        *figures,
    )


def _of(series: Series, arm: str) -> list[tuple[Mapping[str, str], float]]:
    return [(labels, v) for labels, v in series if labels.get("arm") == arm and math.isfinite(v)]


def _moments(found: Mapping[str, float]) -> Moments:
    n = round(found.get("n", 0))
    return Moments(n, found.get("total", 0.0), found.get("squares", 0.0)) if n > 0 else Moments()


def _buckets(series: Series) -> dict[int, int]:
    """A cumulative histogram of seconds as buckets of a measurement.

    Durations between two bounds count as spread evenly over their logarithm, as `quantile` has it.
    """
    bounds = sorted((float(labels["le"]), value) for labels, value in series if "le" in labels)
    found: dict[int, int] = {}
    begin, before, told = 0.0, 0.0, 0
    for bound, cumulative in bounds:
        end = _place(bound) if math.isfinite(bound) else begin + 1
        value = max(cumulative, before)  # Estimates need not grow.
        for bucket in range(int(begin), max(math.ceil(end - 1e-6), int(begin) + 1)):
            share = min((bucket + 1 - begin) / (end - begin), 1.0) if end > begin else 1.0
            count = round(before + (value - before) * share) - told
            if count > 0:
                place = min(bucket, LAST_BUCKET)
                found[place] = found.get(place, 0) + count
                told += count
        begin, before = max(begin, end), value
    return found


def _place(seconds: float) -> float:
    """Where in the row of buckets a duration lies."""
    if seconds <= 0.001:
        return 0.0
    place = math.log(seconds * 1000) / math.log(GROWTH)
    # A bound that is meant to be the end of a bucket is not in the next one.
    return float(round(place)) if abs(place - round(place)) < 1e-3 else place
