"""Tails against values that scipy 1.17.1 computed (`scipy.stats`, `scipy.special.betainc`)."""

import pytest

from modelrouter.plan.canary.distributions import (
    binomial_tail,
    hypergeometric_tail,
    incomplete_beta,
    normal_tail,
    student_tail,
)


@pytest.mark.parametrize(
    ("successes", "trials", "share", "expected"),
    [  # scipy.stats.binom.sf(successes - 1, trials, share)
        (8, 200, 0.01, 0.0010125571505207787),
        (3, 20, 0.05, 0.07548367378849626),
        (14, 100, 0.05, 0.00046327338320381617),
        (130, 200, 0.5, 1.3264377797634364e-05),
        (2600, 50_000, 0.05, 0.0210700815715982),
        (0, 20, 0.05, 1.0),
        (21, 20, 0.05, 0.0),
        (1, 20, 0.0, 0.0),
        (20, 20, 1.0, 1.0),
    ],
)
def test_binomial_tail(successes: int, trials: int, share: float, expected: float) -> None:
    assert binomial_tail(successes, trials, share) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("t", "freedom", "expected"),
    [  # scipy.stats.t.sf
        (2.0, 10, 0.03669401738537018),
        (4.5, 33.7, 3.843908774957322e-05),
        (1.0, 1.0, 0.25),
        (-1.0, 1.0, 0.75),
        (3.2, 5000, 0.0006914332173402296),
    ],
)
def test_student_tail(t: float, freedom: float, expected: float) -> None:
    assert student_tail(t, freedom) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("z", "expected"),  # scipy.stats.norm.sf
    [(1.96, 0.024997895148220435), (3.5, 0.00023262907903552502), (6.0, 9.865876450376946e-10)],
)
def test_normal_tail(z: float, expected: float) -> None:
    assert normal_tail(z) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("count", "n", "stable", "stable_n", "expected"),
    [  # scipy.stats.fisher_exact([[count, n - count], [stable, …]], alternative="greater")
        (8, 200, 4, 600, 0.0025819345507972673),
        (20, 200, 190, 3800, 0.003614848509834335),
        (3, 10, 1, 10, 0.2910216718266254),
        (130, 200, 300, 600, 0.00014376731204316889),
    ],
)
def test_hypergeometric_tail(
    count: int, n: int, stable: int, stable_n: int, expected: float
) -> None:
    found = hypergeometric_tail(count, count + stable, n, n + stable_n)
    assert found == pytest.approx(expected, rel=1e-9)


def test_hypergeometric_tail_below_the_mean() -> None:
    # Of 10, 5 marked, 5 drawn: at least 2 is all but none and one, 1 - (1 + 25) / 252.
    assert hypergeometric_tail(2, 5, 5, 10) == pytest.approx(226 / 252)
    assert hypergeometric_tail(0, 5, 5, 10) == 1
    assert hypergeometric_tail(6, 5, 5, 10) == 0


@pytest.mark.parametrize(
    ("a", "b", "x", "expected"),
    [
        (2, 3, 0.4, 0.5248),
        (0.5, 5, 0.9, 0.9999974294103009),
        (50, 2000, 0.02, 0.09228129077124295),
        (1500, 0.5, 0.999, 0.08321309751427877),
        (2, 3, 0.0, 0.0),
        (2, 3, 1.0, 1.0),
    ],
)
def test_incomplete_beta(a: float, b: float, x: float, expected: float) -> None:
    assert incomplete_beta(a, b, x) == pytest.approx(expected, rel=1e-9)
