"""Tests of whether a figure is beyond a bound by more than chance explains.

Each gives a one-sided p-value: the probability of figures as far beyond the bound, or further, when
in truth the bound is just kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from modelrouter.plan.canary import histogram
from modelrouter.plan.canary.distributions import (
    binomial_tail,
    hypergeometric_tail,
    normal_tail,
    student_tail,
)
from modelrouter.plan.canary.measurement import Moments


def share_above(count: int, n: int, bound: float) -> float:
    """Whether a share is above a bound: the exact binomial test."""
    return binomial_tail(count, n, bound)


def shares_above(count: int, n: int, stable: int, stable_n: int, ratio: float) -> float:
    """Whether a share is above a multiple of the stable pool's; of shares such as failures.

    The signed root of the likelihood ratio (Wilks, 1938) under the hypothesis that the share is
    just `ratio` times the other, where the likeliest such pair solves a quadratic equation
    (Miettinen and Nurminen, Statistics in Medicine 4, 1985). Unlike tests by a difference over its
    standard error it keeps its level far out in the tail and with few failures. The count is
    taken half of one nearer to the bound (the correction for continuity), to err towards chance.
    """
    return _shares(count - 0.5, n, stable, stable_n, ratio)


def shares_below(count: int, n: int, stable: int, stable_n: int, ratio: float) -> float:
    """Whether a share is below a multiple of the stable pool's: `shares_above` mirrored."""
    return _shares(count + 0.5, n, stable, stable_n, ratio, below=True)


def quantile_above(
    candidate: Mapping[int, int], stable: Mapping[int, int], share: float, ratio: float
) -> float:
    """Whether a quantile of durations is above a multiple of the stable pool's.

    Of the candidate's durations those are counted that exceed the stable pool's quantile times
    the ratio. That they are no more than the share beyond the quantile is tested as in Mathisen's
    test (Annals of Mathematical Statistics 14, 1943), whose exact distribution is that of Fisher's
    test: hypergeometric. No shape of the distributions is assumed.
    """
    limit = histogram.quantile(stable, share)
    n, stable_n = histogram.total(candidate), histogram.total(stable)
    if limit is None:
        return 1.0
    count = math.floor(histogram.beyond(candidate, limit * ratio) + _ROUNDING)
    stable_count = math.ceil((1 - share) * stable_n - _ROUNDING)
    return hypergeometric_tail(count, count + stable_count, n, n + stable_n)


def quantile_below(
    candidate: Mapping[int, int], stable: Mapping[int, int], share: float, ratio: float
) -> float:
    """Whether a quantile of durations is below a multiple of the stable pool's."""
    limit = histogram.quantile(stable, share)
    n, stable_n = histogram.total(candidate), histogram.total(stable)
    if limit is None:
        return 1.0
    count = math.floor(n - histogram.beyond(candidate, limit * ratio) + _ROUNDING)
    stable_count = math.ceil(share * stable_n - _ROUNDING)
    return hypergeometric_tail(count, count + stable_count, n, n + stable_n)


def means_above(candidate: Moments, stable: Moments | None, ratio: float) -> float:
    """Whether a mean is above a multiple of the stable pool's: Welch's t test (Biometrika 34, 1947)
    of the one sample and the other times the ratio. Without `stable` the ratio is the bound itself,
    and the test Student's.

    Of values that lean to one side, such as speeds, a hundred of them make the p-value in one of
    the two directions some four times too small, in the other too large; thousands do not."""
    return _means(candidate, stable, ratio, 1)


def means_below(candidate: Moments, stable: Moments | None, ratio: float) -> float:
    """Whether a mean is below a multiple of the stable pool's."""
    return _means(candidate, stable, ratio, -1)


_ROUNDING = 1e-6


def _means(candidate: Moments, stable: Moments | None, ratio: float, side: int) -> float:
    if candidate.mean is None or candidate.n < 2:
        return 1.0
    spread = candidate.variance / candidate.n
    freedom = spread * spread / (candidate.n - 1)
    bound = ratio
    if stable is not None:
        if stable.mean is None or stable.n < 2:
            return 1.0
        other = ratio * ratio * stable.variance / stable.n
        spread, freedom = spread + other, freedom + other * other / (stable.n - 1)
        bound = ratio * stable.mean
    difference = side * (candidate.mean - bound)
    # Figures that do not vary, such as a fixed price: sums of doubles leave no more than rounding.
    if abs(difference) <= 1e-9 * max(abs(bound), abs(candidate.mean)):
        return 1.0
    if spread == 0 or freedom == 0:
        return 0.0 if difference > 0 else 1.0
    return student_tail(difference / math.sqrt(spread), spread * spread / freedom)


def _shares(
    count: float, n: int, stable: int, stable_n: int, ratio: float, *, below: bool = False
) -> float:
    if n == 0 or stable_n == 0:
        return 1.0
    share, stable_share = count / n, stable / stable_n
    if (share >= ratio * stable_share) if below else (share <= ratio * stable_share):
        return 1.0
    if ratio == 0:
        return 0.0
    other = _likeliest(count, n, stable, stable_n, ratio)
    deviance = _deviance(count, n, ratio * other) + _deviance(stable, stable_n, other)
    return normal_tail(math.sqrt(max(deviance, 0.0)))


def _likeliest(count: float, n: int, stable: int, stable_n: int, ratio: float) -> float:
    """The stable pool's share that makes both counts likeliest if the candidate's is `ratio` times
    it: the smaller root of a·s² + b·s + c."""
    a = ratio * (n + stable_n)
    b = -(ratio * n + count + stable_n + ratio * stable)
    c = count + stable
    root = (-b - math.sqrt(max(b * b - 4 * a * c, 0.0))) / (2 * a)
    return min(max(root, 0.0), 1.0, 1 / ratio)


def _deviance(count: float, n: int, share: float) -> float:
    """Twice the log of how much likelier the count is by its own share than by this one."""
    found = 0.0
    for seen, expected in ((count, n * share), (n - count, n * (1 - share))):
        if seen > 0:
            found += seen * math.log(seen / expected) if expected > 0 else math.inf
    return 2 * found
