"""Tails of the distributions that tests need, exact to many digits and from `math` alone."""

from __future__ import annotations

import math

_ENOUGH = 1e-14
_TINY = 1e-300
_MOST_TERMS = 100_000


def normal_tail(z: float) -> float:
    """The probability that a standard normal variable is above z."""
    return 0.5 * math.erfc(z / math.sqrt(2))


def student_tail(t: float, freedom: float) -> float:
    """The probability that Student's t, with these degrees of freedom, is above t."""
    half = 0.5 * incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t))
    return half if t >= 0 else 1 - half


def binomial_tail(successes: int, trials: int, share: float) -> float:
    """The probability of so many successes or more, when each trial succeeds with this share."""
    if successes <= 0:
        return 1.0
    if successes > trials:
        return 0.0
    return incomplete_beta(successes, trials - successes + 1, share)


def hypergeometric_tail(drawn: int, draws: int, marked: int, everything: int) -> float:
    """The probability of so many marked ones or more in draws from everything without return."""
    fewest, most = max(0, draws + marked - everything), min(draws, marked)
    if drawn <= fewest:
        return 1.0
    if drawn > most:
        return 0.0
    if drawn * everything < draws * marked:  # fewer than the mean: the other tail is the short one
        others = everything - marked
        return 1 - hypergeometric_tail(draws - drawn + 1, draws, others, everything)
    # From the first term of the tail on each is smaller than the one before.
    term = total = math.exp(
        _log_choose(marked, drawn)
        + _log_choose(everything - marked, draws - drawn)
        - _log_choose(everything, draws)
    )
    for k in range(drawn, most):
        term *= (marked - k) * (draws - k) / ((k + 1) * (everything - marked - draws + k + 1))
        total += term
        if term < total * _ENOUGH:
            break
    return min(total, 1.0)


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularized incomplete beta function I_x(a, b), for a and b above 0.

    By its continued fraction (DLMF 8.17.22) with Lentz's algorithm as modified by Thompson and
    Barnett (J. Comput. Phys. 64, 1986), which takes some sqrt(max(a, b)) terms.
    """
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    if x > (a + 1) / (a + b + 2):  # the fraction converges on the other side
        return 1 - incomplete_beta(b, a, 1 - x)
    front = math.exp(
        math.lgamma(a + b)
        - math.lgamma(a)
        - math.lgamma(b)
        + a * math.log(x)
        + b * math.log1p(-x)
        - math.log(a)
    )
    c, d = 1.0, 1 / _nonzero(1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, _MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d, c = 1 / _nonzero(1 + even * d), _nonzero(1 + even / c)
        fraction *= c * d
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d, c = 1 / _nonzero(1 + odd * d), _nonzero(1 + odd / c)
        fraction *= c * d
        if abs(c * d - 1) < _ENOUGH:
            break
    return min(front * fraction, 1.0)


def _nonzero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
