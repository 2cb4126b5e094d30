"""Over a thousand canaries each: the real judge and the real state machine decide rightly."""

import pytest

from modelrouter.api.canary import Canary
from modelrouter.api.canary_status import CanaryPhase
from modelrouter.cli.rehearsing import ready_made
from modelrouter.plan.canary.simulating import PATIENCE, Behaviour, Tally, tally

SEEDS, REQUESTS = 1000, 200
STABLE = Behaviour(0.01)


def thousand(candidate: Behaviour) -> Tally:
    return tally(ready_made([5, 25, 50], 100), STABLE, candidate, REQUESTS, SEEDS)


def test_an_equal_candidate_is_not_rolled_back() -> None:
    found = thousand(STABLE)
    assert found.share(CanaryPhase.ROLLED_BACK) < 0.02
    assert found.share(CanaryPhase.PROMOTED) > 0.95
    assert found.requests(0.5) < 5 * REQUESTS


@pytest.mark.parametrize(
    "candidate",
    [Behaviour(0.04), Behaviour(0.01, latency_factor=1.3)],
    ids=["3 points more errors", "1.3 times the latency"],
)
def test_a_worse_candidate_is_detected(candidate: Behaviour) -> None:
    found = thousand(candidate)
    assert found.share(CanaryPhase.ROLLED_BACK) > 0.95
    assert found.share(CanaryPhase.PROMOTED) < 0.02
    assert found.requests(0.95) < 5000


def test_a_candidate_just_at_its_bounds_is_rolled_back_by_chance_as_rarely_as_promised() -> None:
    checks = [
        {"metric": "errorRate", "maxRatioToStable": "1"},
        {"metric": "p50Latency", "maxRatioToStable": "1"},
    ]
    canary = Canary.model_validate(
        {
            "from": "stable",
            "to": "candidate",
            "steps": [{"weight": 50, "pause": "1m"}],
            "analysis": {"checks": checks},
        }
    )
    found = tally(canary, STABLE, STABLE, 100, 150)
    assert found.share(CanaryPhase.ROLLED_BACK) < 0.02


def test_means_are_simulated_too() -> None:
    checks = [
        {"metric": "tokensPerSecond", "minRatioToStable": "0.9"},
        {"metric": "costPerRequest", "maxRatioToStable": "1.2"},
        {"metric": "quality", "min": "0.7"},
        {"metric": "p50FirstToken", "max": "0.6"},
    ]
    document = ready_made([50], 400).model_dump(by_alias=True, mode="json")
    document["analysis"]["checks"] = checks
    canary = Canary.model_validate(document)
    assert tally(canary, STABLE, STABLE, 400, 10).share(CanaryPhase.PROMOTED) == 1
    assert tally(canary, STABLE, Behaviour(0.01, 1.4), 400, 10).share(CanaryPhase.ROLLED_BACK) == 1


def test_a_canary_without_traffic_stays_undecided() -> None:
    found = tally(ready_made([5], 101), STABLE, STABLE, 4, 3)
    assert found.share(None) == 1
    assert found.requests(1.0) == 4 * PATIENCE


def test_a_hard_limit_ends_it_sooner() -> None:
    canary = ready_made([5, 25], 1000)
    document = canary.model_dump(by_alias=True, mode="json")
    document["analysis"]["hardLimits"] = [{"metric": "errorRate", "max": "0.2"}]
    found = tally(Canary.model_validate(document), STABLE, Behaviour(0.9), 200, 20)
    assert found.share(CanaryPhase.ROLLED_BACK) == 1
    assert found.requests(1.0) == 50
