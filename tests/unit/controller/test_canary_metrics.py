"""What Prometheus is told of canaries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from modelrouter.api.canary import Canary
from modelrouter.api.canary_status import CanaryPhase, CanaryStatus
from modelrouter.controller.canary_metrics import CanaryMetrics

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SPEC = Canary.model_validate(
    {"from": "a", "to": "b", "steps": [{"weight": 5, "pause": "10m"}, {"weight": 50}]}
)
ROUTE = ("ai", "support")
LABELS = {"namespace": "ai", "route": "support"}


def status(phase: CanaryPhase = CanaryPhase.PROGRESSING, step: int = 1) -> CanaryStatus:
    return CanaryStatus(
        phase=phase,
        id=SPEC.id,
        rule="pools",
        stable="a",
        candidate="b",
        step=step,
        steps=2,
        weight=5,
        since=NOON,
    )


@pytest.fixture
def metrics() -> CanaryMetrics:
    return CanaryMetrics(lambda: NOON + timedelta(minutes=3))


def sample(metrics: CanaryMetrics, name: str, **labels: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(metrics)
    return registry.get_sample_value(f"modelrouter_canary_{name}", {**LABELS, **labels})


def test_weights_phase_and_age(metrics: CanaryMetrics) -> None:
    metrics.show(ROUTE, SPEC, status())
    assert sample(metrics, "weight", pool="b") == 5
    assert sample(metrics, "weight", pool="a") == 95
    assert sample(metrics, "phase", phase="Progressing") == 1
    assert sample(metrics, "phase", phase="RolledBack") == 0
    assert sample(metrics, "step_seconds") == 180


@pytest.mark.parametrize(("step", "seconds"), [(0, 0), (1, 600), (2, None), (3, None)])
def test_how_long_the_step_should_take(
    metrics: CanaryMetrics, step: int, seconds: float | None
) -> None:
    metrics.show(ROUTE, SPEC, status(step=step))
    assert sample(metrics, "step_pause_seconds") == seconds


def test_a_canary_that_is_gone_is_forgotten(metrics: CanaryMetrics) -> None:
    metrics.show(ROUTE, SPEC, status())
    metrics.turned(ROUTE, CanaryPhase.PROGRESSING)
    metrics.judged(ROUTE, "Passing")
    assert sample(metrics, "transitions_total", to="Progressing") == 1
    assert sample(metrics, "analyses_total", outcome="Passing") == 1
    metrics.forget(ROUTE)
    assert sample(metrics, "transitions_total", to="Progressing") is None
    assert sample(metrics, "step_seconds") is None
    assert sample(metrics, "step_pause_seconds") is None
