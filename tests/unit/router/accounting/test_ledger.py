"""What the ledger says after requests have ended."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from modelrouter.api.pool import Price
from modelrouter.api.router_config import Ejection, PoolConfig
from modelrouter.router.accesslog.record import RequestRecord
from modelrouter.router.accounting.histogram import Histogram
from modelrouter.router.accounting.ledger import Ledger, quantile
from modelrouter.router.accounting.metrics import LedgerCollector, PoolGauge, Programmed

POOL = PoolConfig(
    model="a-model",
    zone="eu",
    quality="0.6",
    addresses=["10.0.0.7:80"],
    price=Price(input="0.50", output="2.00"),
    max_concurrent_requests=9,
    ejection=Ejection(consecutive_errors=5, base_ejection_time_ms=30_000, max_ejection_percent=50),
)
RECORD = RequestRecord(
    request_id="r1",
    route="chat",
    reason="rule:default",
    pool="gpt",
    attempts=2,
    status=200,
    duration_ms=120.0,
    first_byte_ms=30.0,
    prompt_tokens=1000,
    completion_tokens=500,
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(clock: Clock) -> Ledger:
    ledger = Ledger(clock)
    ledger.use_pools({"gpt": POOL, "llama": POOL.model_copy(update={"price": None})})
    return ledger


def test_a_request_is_in_flight_from_its_decision_to_its_record(ledger: Ledger) -> None:
    ledger.decided("r1", "gpt", 0.0001)
    ledger.decided("r2", "gpt", 0.0001)
    assert ledger.pools["gpt"].in_flight == 2
    ledger.record(RECORD)
    assert ledger.pools["gpt"].in_flight == 1
    ledger.record(RECORD._replace(request_id="unknown"))
    assert ledger.pools["gpt"].in_flight == 1


def test_a_request_answered_by_another_pool_frees_the_one_chosen_for_it(ledger: Ledger) -> None:
    ledger.decided("r1", "gpt", 0.0001)
    ledger.record(RECORD._replace(pool="llama"))
    assert ledger.pools["gpt"].in_flight == 0
    assert ledger.pools["llama"].in_flight == 0


def test_requests_with_the_same_id_are_counted_each(ledger: Ledger) -> None:
    for in_flight in (1, 2):
        ledger.decided("r1", "gpt", 0.0001)
        assert ledger.pools["gpt"].in_flight == in_flight
    for in_flight in (1, 0):
        ledger.record(RECORD)
        assert ledger.pools["gpt"].in_flight == in_flight


def test_nothing_is_in_flight_after_envoy_is_gone(ledger: Ledger) -> None:
    ledger.decided("r1", "gpt", 0.0001)
    ledger.forget_in_flight()
    ledger.record(RECORD)
    assert ledger.pools["gpt"].in_flight == 0


def test_totals_hold_tokens_cost_and_retries(ledger: Ledger) -> None:
    ledger.record(RECORD)
    ledger.record(RECORD._replace(status=503, prompt_tokens=None, completion_tokens=None))
    totals = ledger.totals["chat", "gpt"]
    assert totals.codes == {200: 1, 503: 1}
    assert (totals.requests, totals.errors, totals.retries) == (2, 1, 2)
    assert (totals.prompt_tokens, totals.completion_tokens) == (1000, 500)
    assert totals.cost == pytest.approx(1000 * 0.5e-6 + 500 * 2e-6)


def test_the_view_shows_shares_of_the_last_seconds(ledger: Ledger, clock: Clock) -> None:
    ledger.record(RECORD._replace(pool="llama"))
    clock.now += 60
    for _ in range(3):
        ledger.record(RECORD)
    ledger.record(RECORD._replace(pool="llama", duration_ms=10.0))
    pools = ledger.view()["chat"]
    assert pools["gpt"]["recent"] == {"requests": 3, "share": 0.75}
    assert pools["llama"]["recent"] == {"requests": 1, "share": 0.25}
    assert pools["llama"]["latency_ms"] == {"p50": 10.0, "p99": 10.0}
    assert pools["llama"]["requests"] == 2


def test_a_pool_that_is_removed_is_forgotten_and_a_kept_one_keeps_its_count(
    ledger: Ledger,
) -> None:
    ledger.decided("r1", "gpt", 0.0001)
    ledger.use_pools({"gpt": POOL})
    assert list(ledger.pools) == ["gpt"]
    assert ledger.pools["gpt"].in_flight == 1


def test_metrics_carry_the_names_that_dashboards_use(ledger: Ledger) -> None:
    ledger.decided("r1", "gpt", 0.0001)
    ledger.refused("model_not_found", 0.0001)
    ledger.record(RECORD._replace(reason="rule:default; llama unhealthy"))
    ledger.record(RECORD._replace(route="other", reason="fall-through"))
    ledger.record(RECORD._replace(route="", failed_streams=("gpt", "llama", "gpt")))
    programmed = Programmed("v1", 3, 1, {"gpt": POOL}, {"gpt": PoolGauge(1, 2, 7, 1)})
    registry = CollectorRegistry()
    registry.register(LedgerCollector(ledger, programmed))
    text = generate_latest(registry).decode()
    for line in (
        'modelrouter_requests_total{code="200",pool="gpt",route="chat"} 1.0',
        'modelrouter_retries_total{pool="gpt",route="chat"} 1.0',
        'modelrouter_tokens_total{direction="prompt",pool="gpt",route="chat"} 1000.0',
        'modelrouter_tokens_total{direction="completion",pool="gpt",route="chat"} 500.0',
        'modelrouter_cost_dollars_total{pool="gpt",route="chat"} 0.0015',
        'modelrouter_request_duration_seconds_bucket{le="0.16",pool="gpt",route="chat"} 1.0',
        'modelrouter_request_duration_seconds_bucket{le="0.08",pool="gpt",route="chat"} 0.0',
        'modelrouter_time_to_first_byte_seconds_sum{pool="gpt",route="chat"} 0.03',
        'modelrouter_decisions_total{route="chat",rule="default"} 1.0',
        'modelrouter_refusals_total{error="model_not_found"} 1.0',
        "modelrouter_fall_through_requests_total 1.0",
        'modelrouter_in_flight_requests{pool="gpt"} 7.0',
        'modelrouter_pool_endpoints{pool="gpt",state="ready"} 1.0',
        'modelrouter_pool_endpoints{pool="gpt",state="ejected"} 1.0',
        'modelrouter_failed_streams_total{pool="gpt"} 2.0',
        'modelrouter_pool_info{model="a-model",pool="gpt",zone="eu"} 1.0',
        'modelrouter_pool_quality{pool="gpt"} 0.6',
        'modelrouter_config_info{version="v1"} 1.0',
        'modelrouter_config_updates_total{result="rejected"} 1.0',
    ):
        assert line in text.splitlines()


def test_a_histogram_counts_like_prometheus() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        histogram.observe(value)
    assert list(histogram.cumulative()) == [("1.0", 2.0), ("2.0", 3.0), ("+Inf", 4.0)]
    assert histogram.total == 12.0


def test_quantiles_of_nothing_are_none() -> None:
    assert quantile([], 0.5) is None
    assert quantile([3, 1, 2], 0.5) == 2
    assert quantile([3, 1, 2], 0.99) == 3
