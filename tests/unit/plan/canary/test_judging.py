"""Given these figures of both arms, this is what an analysis says."""

from typing import Any

import pytest

from modelrouter.api.canary_analysis import CanaryAnalysis, HardLimit
from modelrouter.api.canary_status import AnalysisOutcome, CheckResult
from modelrouter.plan.canary.judging import Judgement, breach, judge
from modelrouter.plan.canary.levels import CANARY_LEVEL, level
from modelrouter.plan.canary.measurement import NOTHING, Measurement, Moments

PASSING, FAILING = AnalysisOutcome.PASSING, AnalysisOutcome.FAILING
INCONCLUSIVE = AnalysisOutcome.INCONCLUSIVE


def arm(requests: int, failed: int = 0, **figures: Any) -> Measurement:
    return Measurement(requests, {"serverError": failed}, **figures)


def analysis(*checks: dict[str, str], **fields: Any) -> CanaryAnalysis:
    return CanaryAnalysis.model_validate({"checks": list(checks), **fields})


def one(check: dict[str, str], stable: Measurement, candidate: Measurement) -> Judgement:
    return judge(analysis(check), stable, candidate, {})


STABLE = arm(3800, 38)
ERRORS = {"metric": "errorRate", "maxRatioToStable": "1.5"}


def test_within_the_bound_passes() -> None:
    judgement = one(ERRORS, STABLE, arm(200, 3))
    assert judgement.outcome is PASSING
    assert judgement.message == ""
    status = judgement.checks[0].status
    assert (status.name, status.value, status.stable) == ("errorRate", "0.015", "0.01")
    assert (status.bound, status.outcome) == ("maxRatioToStable 1.5", CheckResult.PASS)


def test_beyond_by_chance_is_inconclusive() -> None:
    judgement = one(ERRORS, STABLE, arm(200, 6))  # 3 % of 200, where 1.5 % are allowed
    assert judgement.outcome is INCONCLUSIVE
    assert "errorRate 0.03 is beyond maxRatioToStable 1.5 (stable: 0.01)" in judgement.message
    assert "more requests will tell" in judgement.message


def test_beyond_and_no_chance_fails() -> None:
    judgement = one(ERRORS, STABLE, arm(200, 30))
    assert judgement.outcome is FAILING
    assert judgement.checks[0].outcome is CheckResult.FAIL
    assert "errorRate 0.15 is beyond maxRatioToStable 1.5 (stable: 0.01)" in judgement.message


def test_too_few_requests_are_inconclusive_whatever_they_say() -> None:
    for failed in (0, 99):
        judgement = one(ERRORS, STABLE, arm(99, failed))
        assert judgement.outcome is INCONCLUSIVE
        assert "99 of the 100 requests that analysis.minRequests asks for" in judgement.message
        assert judgement.checks[0].value == failed / 99
    enough = judge(analysis(ERRORS, minRequests=50), STABLE, arm(99, 99), {})
    assert enough.outcome is FAILING


def test_without_stable_requests_a_ratio_is_inconclusive() -> None:
    judgement = one(ERRORS, NOTHING, arm(500))
    assert judgement.outcome is INCONCLUSIVE
    assert "only 0 values of the stable pool, 30 needed" in judgement.message
    assert one({"metric": "errorRate", "max": "0.02"}, NOTHING, arm(500)).outcome is PASSING


def test_a_figure_of_few_values_is_inconclusive() -> None:
    check = {"metric": "quality", "min": "0.8"}
    few = arm(500, quality=Moments.of([0.0] * 10))
    assert "only 10 values of the candidate, 30 needed" in one(check, STABLE, few).message
    assert one(check, STABLE, arm(500)).outcome is INCONCLUSIVE


FAST = {120 + step: 400 - 40 * step for step in range(10)}
SLOW = {bucket + 10: count for bucket, count in FAST.items()}
BAD: list[tuple[dict[str, str], Measurement, Measurement]] = [
    ({"metric": "successRate", "min": "0.99"}, STABLE, arm(1000, 50)),
    ({"metric": "successRate", "minRatioToStable": "0.99"}, STABLE, arm(1000, 60)),
    ({"metric": "errorRate", "max": "0.02"}, STABLE, arm(1000, 60)),
    ({"metric": "serverErrorRate", "max": "0.02"}, STABLE, arm(1000, 60)),
    (
        {"metric": "rateLimitedRate", "max": "0.02"},
        STABLE,
        Measurement(1000, {"rateLimited": 60}),
    ),
    (
        {"metric": "brokenStreamRate", "maxRatioToStable": "2"},
        Measurement(5000, {"brokenStream": 5}),
        Measurement(1000, {"brokenStream": 60}),
    ),
    (
        {"metric": "p50Latency", "maxRatioToStable": "1.2"},
        arm(2200, latency=FAST),
        arm(2200, latency=SLOW),
    ),
    (
        {"metric": "p95Latency", "maxRatioToStable": "1.2"},
        arm(2200, latency=FAST),
        arm(2200, latency=SLOW),
    ),
    ({"metric": "p95Latency", "max": "0.5"}, STABLE, arm(2200, latency=FAST)),
    (
        {"metric": "p50FirstToken", "maxRatioToStable": "1.2"},
        arm(2200, first_token=FAST),
        arm(2200, first_token=SLOW),
    ),
    ({"metric": "p95FirstToken", "max": "0.5"}, STABLE, arm(2200, first_token=FAST)),
    (
        {"metric": "tokensPerSecond", "minRatioToStable": "0.9"},
        arm(400, tokens_per_second=Moments.of([40.0, 44.0] * 200)),
        arm(400, tokens_per_second=Moments.of([30.0, 34.0] * 200)),
    ),
    (
        {"metric": "costPerRequest", "maxRatioToStable": "1.1"},
        arm(400, cost=Moments.of([0.001, 0.002] * 200)),
        arm(400, cost=Moments.of([0.002, 0.003] * 200)),
    ),
    (
        {"metric": "quality", "min": "0.8"},
        STABLE,
        arm(400, quality=Moments.of([1.0, 0.0] * 50)),
    ),
]


@pytest.mark.parametrize(
    ("check", "stable", "candidate"), BAD, ids=[f"{c['metric']}-{list(c)[1]}" for c, _, _ in BAD]
)
def test_every_metric_can_fail(
    check: dict[str, str], stable: Measurement, candidate: Measurement
) -> None:
    assert one(check, stable, candidate).outcome is FAILING


@pytest.mark.parametrize(
    ("check", "stable"),
    [(check, stable) for check, stable, _ in BAD if "Ratio" in list(check)[1]],
)
def test_a_candidate_that_is_like_stable_passes(check: dict[str, str], stable: Measurement) -> None:
    assert one(check, stable, stable).outcome is PASSING


def test_durations_are_in_seconds() -> None:
    check = {"metric": "p50Latency", "max": "1"}
    outcome = one(check, NOTHING, arm(200, latency={140: 200})).checks[0]
    assert outcome.value == pytest.approx(1.05**140.5 / 1000)
    assert outcome.outcome is CheckResult.PASS


QUERY = {"name": "waits", "query": "max(waits{pool='{{pool}}'})"}


@pytest.mark.parametrize(
    ("bound", "figures", "outcome"),
    [
        ({"max": "3"}, (3.0, None), PASSING),
        ({"max": "3"}, (3.1, None), FAILING),
        ({"min": "3"}, (2.9, None), FAILING),
        ({"max": "3"}, (None, 1.0), INCONCLUSIVE),
        ({"max": "3"}, (float("nan"), 1.0), INCONCLUSIVE),
        ({"maxRatioToStable": "2"}, (3.9, 2.0), PASSING),
        ({"maxRatioToStable": "2"}, (4.1, 2.0), FAILING),
        ({"maxRatioToStable": "2"}, (4.1, None), INCONCLUSIVE),
    ],
)
def test_figures_from_elsewhere_count_as_they_are(
    bound: dict[str, str],
    figures: tuple[float | None, float | None],
    outcome: AnalysisOutcome,
) -> None:
    given = analysis({**QUERY, **bound}, prometheus={"address": "http://prometheus:9090"})
    assert judge(given, STABLE, arm(200), {"waits": figures}).outcome is outcome
    assert judge(given, STABLE, arm(20), {"waits": figures}).outcome is INCONCLUSIVE
    assert judge(given, STABLE, arm(200), {}).outcome is INCONCLUSIVE


def test_one_failed_check_fails_all_and_is_what_is_told() -> None:
    quality = {"metric": "quality", "min": "0.8"}
    judgement = judge(analysis(ERRORS, quality), STABLE, arm(200, 100), {})
    assert judgement.outcome is FAILING
    assert [check.outcome for check in judgement.checks] == [
        CheckResult.FAIL,
        CheckResult.INCONCLUSIVE,
    ]
    assert "quality" not in judgement.message


def test_without_checks_there_is_nothing_to_fail() -> None:
    assert judge(analysis(), NOTHING, NOTHING, {}).outcome is PASSING


def limit(**fields: Any) -> HardLimit:
    return HardLimit.model_validate({"metric": "errorRate", "max": "0.2", **fields})


@pytest.mark.parametrize(
    ("requests", "failed", "breached"),
    [
        (19, 19, False),  # too few
        (20, 8, False),
        (20, 9, True),  # binomial tail of 0.01, as tables have it
        (100, 30, False),
        (100, 31, True),
    ],
)
def test_a_hard_limit_is_breached_by_more_than_chance(
    requests: int, failed: int, breached: bool
) -> None:
    told = breach([limit()], {30: arm(requests, failed)})
    assert (told is not None) is breached


def test_a_breach_is_told() -> None:
    slow = limit(metric="p50Latency", max="2", window="10s")
    told = breach([limit(), slow], {30: arm(100, 3), 10: arm(40, 0, latency={170: 40})})
    assert told == "p50Latency was 4.1 in 10s (40 requests), beyond the hard limit max 2"
    low = HardLimit.model_validate({"metric": "successRate", "min": "0.8"})
    assert breach([low], {30: arm(100, 60)}) is not None
    assert breach([low], {}) is None


def test_levels_add_up_to_that_of_the_canary() -> None:
    given = analysis(ERRORS, minRequests=100)
    spent = sum(8 * level(given, 3, 5, 100 * 2**doubling, 60) for doubling in range(40))
    assert spent * 3 * 5 == pytest.approx(CANARY_LEVEL, rel=0.03)
    assert spent * 3 * 5 < CANARY_LEVEL


def test_after_the_window_older_looks_count_too() -> None:
    given = analysis(ERRORS, minRequests=100, window="10m")
    before, after = level(given, 1, 1, 800, 600), level(given, 1, 1, 800, 2400)
    # 4 windows: two doublings more, each look a quarter of the level.
    assert before / after == pytest.approx(4 * (6 * 7) / (4 * 5))
