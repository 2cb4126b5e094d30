"""What an agent tells Prometheus of a canary's arms is what the operator reads from it."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from modelrouter.api.router_config import RouterConfig
from modelrouter.plan.canary import histogram
from modelrouter.plan.canary.promql import DURATION, FIGURES, FIRST_TOKEN, REQUESTS, read_arm
from modelrouter.router.accesslog.record import RequestRecord
from modelrouter.router.measuring.measurements import Measurements
from modelrouter.router.measuring.metrics import ArmCollector

EJECTION = {"consecutive_errors": 5, "base_ejection_time_ms": 5_000, "max_ejection_percent": 50}
CANARY = RequestRecord(
    "id", "chat", "rule:default; canary", "new", 1, 200, 1100.0, 100.0, 1000, 500, (), "", True
)


def config(**canary: str) -> RouterConfig:
    pool = {
        "model": "m",
        "addresses": ["127.0.0.1:1"],
        "ejection": EJECTION,
        "price": {"input": "1", "output": "10"},
    }
    route: dict[str, Any] = {
        "models": ["chat"],
        "pools": ["old", "new"],
        "rules": [{"name": "default", "targets": [{"pool": "old", "weight": 1}], "failover": []}],
        "retry": {"attempts_per_pool": 1, "triggers": ["5xx"]},
        "request_timeout_ms": 0,
        "idle_timeout_ms": 0,
        "fallthrough": {"pools": ["old"], "closed": False},
    }
    if canary:
        fields = {"rule": "default", "stable": "old", "candidate": "new"}
        route["canary"] = fields | canary
    content = {"router": "default", "namespace": "ai", "pools": dict.fromkeys(("old", "new"), pool)}
    return RouterConfig.model_validate({**content, "routes": {"chat": route}})


def scraped(registry: CollectorRegistry) -> list[tuple[str, dict[str, str], float]]:
    """Every sample about arms."""
    text = generate_latest(registry).decode()
    return [
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


def read(samples: list[tuple[str, dict[str, str], float]], arm: str) -> Any:
    def named(name: str) -> list[tuple[dict[str, str], float]]:
        return [(labels, value) for found, labels, value in samples if found == name]

    return read_arm(
        {
            "requests": named(f"{REQUESTS}_total"),
            "latency": named(f"{DURATION}_bucket"),
            "firstToken": named(f"{FIRST_TOKEN}_bucket"),
            "figures": named(f"{FIGURES}_total"),
        },
        arm,
    )


def test_the_arms_of_a_running_canary_are_told_from_0_on_and_end_with_it() -> None:
    now = 5000.0
    measurements = Measurements(lambda: now)
    registry = CollectorRegistry()
    registry.register(ArmCollector(measurements))
    assert scraped(registry) == []
    measurements.use(config(id="1a"))
    samples = scraped(registry)
    assert {labels["canary"] for _, labels, _ in samples} == {"1a"}
    assert {value for _, _, value in samples} == {0.0}

    stable = CANARY._replace(reason="rule:default; stable", pool="old")
    for _ in range(7200):  # longer than figures are kept for analyses
        now += 1
        measurements.record(CANARY)
        measurements.record(stable._replace(status=500))
    found = read(scraped(registry), "canary")
    counted = 7200 - 2  # the first ones may have been placed by the canary before
    assert found.requests == pytest.approx(counted, abs=2)
    assert found.failed == 0
    assert histogram.quantile(found.latency, 0.5) == pytest.approx(1100, rel=0.12)
    assert histogram.quantile(found.first_token, 0.5) == pytest.approx(100, rel=0.12)
    assert found.tokens_per_second.mean == pytest.approx(500)
    assert found.cost.mean == pytest.approx(0.006)
    failed = read(scraped(registry), "stable")
    assert failed.failures == {"serverError": failed.requests}

    measurements.use(config())
    assert scraped(registry) == []
