"""The figures that checks are about, each with the test that fits it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from modelrouter.api.canary_analysis import CanaryMetric
from modelrouter.plan.canary import histogram, significance
from modelrouter.plan.canary.measurement import FailureClass, Measurement, Moments

_MILLISECONDS = 1000


@dataclass(frozen=True, slots=True)
class Share:
    """A share of the requests."""

    count: int
    n: int

    @property
    def value(self) -> float | None:
        """From 0 to 1; None without any request."""
        return self.count / self.n if self.n else None

    def chance(self, bound: float, *, above: bool) -> float:
        """The p-value of being beyond the bound."""
        if above:
            return significance.share_above(self.count, self.n, bound)
        return significance.share_above(self.n - self.count, self.n, 1 - bound)

    def chance_to(self, stable: Figure, ratio: float, *, above: bool) -> float:
        """The p-value of being beyond `ratio` times the stable pool's figure."""
        assert isinstance(stable, Share)
        test = significance.shares_above if above else significance.shares_below
        return test(self.count, self.n, stable.count, stable.n, ratio)


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile of durations."""

    buckets: Mapping[int, int]
    share: float

    @property
    def n(self) -> int:
        """How many durations there are."""
        return histogram.total(self.buckets)

    @property
    def value(self) -> float | None:
        """In seconds; None without any duration."""
        found = histogram.quantile(self.buckets, self.share)
        return None if found is None else found / _MILLISECONDS

    def chance(self, bound: float, *, above: bool) -> float:
        """The p-value of being beyond the bound: of so many durations being."""
        longer = histogram.beyond(self.buckets, bound * _MILLISECONDS)
        if above:
            return significance.share_above(math.floor(longer), self.n, 1 - self.share)
        return significance.share_above(math.floor(self.n - longer), self.n, self.share)

    def chance_to(self, stable: Figure, ratio: float, *, above: bool) -> float:
        """The p-value of being beyond `ratio` times the stable pool's figure."""
        assert isinstance(stable, Quantile)
        test = significance.quantile_above if above else significance.quantile_below
        return test(self.buckets, stable.buckets, self.share, ratio)


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over requests."""

    moments: Moments

    @property
    def n(self) -> int:
        """How many numbers it is the mean of."""
        return self.moments.n

    @property
    def value(self) -> float | None:
        """None without any number."""
        return self.moments.mean

    def chance(self, bound: float, *, above: bool) -> float:
        """The p-value of being beyond the bound."""
        test = significance.means_above if above else significance.means_below
        return test(self.moments, None, bound)

    def chance_to(self, stable: Figure, ratio: float, *, above: bool) -> float:
        """The p-value of being beyond `ratio` times the stable pool's figure."""
        assert isinstance(stable, Mean)
        test = significance.means_above if above else significance.means_below
        return test(self.moments, stable.moments, ratio)


Figure = Share | Quantile | Mean

_FAILURE_CLASS_OF: Mapping[CanaryMetric, FailureClass] = {
    CanaryMetric.SERVER_ERROR_RATE: "serverError",
    CanaryMetric.RATE_LIMITED_RATE: "rateLimited",
    CanaryMetric.BROKEN_STREAM_RATE: "brokenStream",
}


def figure_of(metric: CanaryMetric, measured: Measurement) -> Figure:
    """The figure that a metric names."""
    match metric:
        case CanaryMetric.SUCCESS_RATE:
            return Share(measured.requests - measured.failed, measured.requests)
        case CanaryMetric.ERROR_RATE:
            return Share(measured.failed, measured.requests)
        case CanaryMetric.P50_LATENCY:
            return Quantile(measured.latency, 0.5)
        case CanaryMetric.P95_LATENCY:
            return Quantile(measured.latency, 0.95)
        case CanaryMetric.P50_FIRST_TOKEN:
            return Quantile(measured.first_token, 0.5)
        case CanaryMetric.P95_FIRST_TOKEN:
            return Quantile(measured.first_token, 0.95)
        case CanaryMetric.TOKENS_PER_SECOND:
            return Mean(measured.tokens_per_second)
        case CanaryMetric.COST_PER_REQUEST:
            return Mean(measured.cost)
        case CanaryMetric.QUALITY:
            return Mean(measured.quality)
        case _:
            return Share(measured.failures.get(_FAILURE_CLASS_OF[metric], 0), measured.requests)
