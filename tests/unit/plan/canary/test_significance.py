"""Tests keep their levels, and agree with what others compute."""

import math
from itertools import pairwise
from random import Random

import pytest

from modelrouter.plan.canary import histogram
from modelrouter.plan.canary.distributions import binomial_tail
from modelrouter.plan.canary.measurement import Moments
from modelrouter.plan.canary.significance import (
    means_above,
    means_below,
    quantile_above,
    quantile_below,
    share_above,
    shares_above,
    shares_below,
)

# Two samples with unequal variances, as in usual examples of Welch's test.
ONE = [27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 28.5, 24.4]
OTHER = [27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4]


def test_means_agree_with_scipy() -> None:
    # scipy 1.17.1: stats.ttest_ind(ONE, OTHER, equal_var=False, alternative="greater").pvalue
    found = means_above(Moments.of(ONE), Moments.of(OTHER), 1.0)
    assert found == pytest.approx(0.0037743122557017134, rel=1e-6)
    assert means_below(Moments.of(OTHER), Moments.of(ONE), 1.0) == pytest.approx(found, rel=1e-6)


def test_a_mean_is_held_against_a_multiple_of_the_other() -> None:
    doubled = Moments.of(2 * value for value in ONE)
    # Both samples doubled are the same test as neither.
    both = Moments.of(2 * value for value in OTHER)
    once = means_above(Moments.of(ONE), Moments.of(OTHER), 1.0)
    assert means_above(doubled, both, 1.0) == pytest.approx(once, rel=1e-6)
    # So is the other one's ratio instead.
    assert means_above(doubled, Moments.of(OTHER), 2.0) == pytest.approx(once, rel=1e-6)


def test_a_mean_is_held_against_a_bound() -> None:
    # scipy 1.17.1: stats.ttest_1samp(ONE, 22, alternative="greater").pvalue
    assert means_above(Moments.of(ONE), None, 22.0) == pytest.approx(0.011067983554463914, rel=1e-6)


def test_figures_that_do_not_vary_differ_or_do_not() -> None:
    cheap, dear = Moments.of([0.1] * 40), Moments.of([0.2] * 40)
    assert means_above(dear, cheap, 1.5) < 1e-12
    assert means_above(dear, cheap, 2.0) == 1
    assert means_above(cheap, None, 0.1) == 1
    assert means_below(cheap, None, 0.1) == 1


def test_too_few_values_prove_nothing() -> None:
    assert means_above(Moments.of([9.0]), Moments.of(OTHER), 1.0) == 1
    assert shares_above(1, 1, 0, 0, 1.0) == 1
    assert quantile_above({10: 50}, {}, 0.95, 1.0) == 1
    assert quantile_below({10: 50}, {}, 0.95, 1.0) == 1


def test_a_share_is_held_against_a_bound() -> None:
    assert share_above(8, 200, 0.01) == pytest.approx(0.0010125571505207787)
    assert share_above(1, 200, 0.0) == 0  # none at all are allowed


def probabilities(trials: int, share: float) -> list[float]:
    tails = [binomial_tail(count, trials, share) for count in range(trials + 2)]
    return [one - next_one for one, next_one in pairwise(tails)]


@pytest.mark.parametrize("level", [1e-2, 1e-3, 1e-4])
@pytest.mark.parametrize(("n", "stable_n"), [(100, 1900), (200, 600), (100, 100)])
@pytest.mark.parametrize(("share", "ratio"), [(0.01, 1.0), (0.01, 3.0), (0.05, 1.5), (0.2, 1.0)])
def test_shares_just_at_the_bound_fail_no_more_often_than_the_level(
    n: int, stable_n: int, share: float, ratio: float, level: float
) -> None:
    """Summed over all that can happen, not sampled."""
    candidate, stable = probabilities(n, share * ratio), probabilities(stable_n, share)
    failing = 0.0
    for count, likely in enumerate(stable):
        if likely < 1e-8:
            continue
        low, high = 0, n + 1  # p-values fall as failures grow
        while low < high:
            middle = (low + high) // 2
            if shares_above(middle, n, count, stable_n, ratio) < level:
                high = middle
            else:
                low = middle + 1
        failing += likely * math.fsum(candidate[low:])
    assert failing <= 1.6 * level  # the likelihood ratio is an approximation


def test_shares_below_mirrors_shares_above() -> None:
    # With ratio 1, too few successes are too many failures.
    assert shares_below(180, 200, 590, 600, 1.0) == pytest.approx(
        shares_above(20, 200, 10, 600, 1.0), rel=1e-6
    )
    # Allowed are 0.99 of 0.98: 2.98 % failures. 20 of 200 are 10 %.
    assert shares_below(180, 200, 3724, 3800, 0.99) < 1e-4
    assert shares_below(195, 200, 3724, 3800, 0.99) == 1
    assert shares_above(5, 200, 0, 3800, 0.0) == 0


def durations(count: int, median: float, random: Random) -> dict[int, int]:
    buckets: dict[int, int] = {}
    for _ in range(count):
        bucket = histogram.bucket_of(median * random.lognormvariate(0, 0.5))
        buckets[bucket] = buckets.get(bucket, 0) + 1
    return buckets


@pytest.mark.parametrize(("share", "ratio"), [(0.5, 1.0), (0.95, 1.0), (0.95, 1.2), (0.5, 1.33)])
def test_quantiles_just_at_the_bound_fail_no_more_often_than_the_level(
    share: float, ratio: float
) -> None:
    random, failed = Random(7), 0
    for _ in range(600):
        candidate, stable = durations(120, 900 * ratio, random), durations(300, 900, random)
        failed += quantile_above(candidate, stable, share, ratio) < 0.05
    assert failed <= 42  # 30 expected at the very level; 42 is 2.2 standard deviations above


def test_a_quantile_is_compared_without_any_shape() -> None:
    # 10 of 100 are longer than the stable pool's p95, 5 of 100 would be expected: Fisher's test
    # of (10, 90), (5, 95); scipy 1.17.1: stats.fisher_exact(…, alternative="greater").
    stable, candidate = {100: 95, 120: 5}, {100: 90, 130: 10}
    expected = 0.14138191518889034
    assert quantile_above(candidate, stable, 0.95, 1.0) == pytest.approx(expected, rel=1e-9)


def test_a_scaled_candidate_stands_out() -> None:
    random = Random(1)
    stable, slow = durations(2000, 900, random), durations(400, 1170, random)
    assert quantile_above(slow, stable, 0.5, 1.0) < 1e-6
    assert quantile_above(slow, stable, 0.95, 1.0) < 1e-3
    assert quantile_above(slow, stable, 0.5, 1.4) > 0.05
    assert quantile_below(stable, slow, 0.5, 1.0) < 1e-6
