"""The ledger as Prometheus metrics, made when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from modelrouter.api.router_config import PoolConfig
from modelrouter.router.accounting.histogram import Histogram
from modelrouter.router.accounting.ledger import Ledger

LABELS = ["route", "pool"]


@dataclass(slots=True)
class PoolGauge:
    """A pool's endpoints, as Envoy sees them."""

    ready: int
    total: int
    active: int = 0
    """Requests that they are working on."""
    ejected: int = 0
    """Endpoints that get no requests for a while, because those before failed."""


@dataclass(slots=True)
class Programmed:
    """What the metrics tell of the configuration."""

    version: str = ""
    applied: int = 0
    rejected: int = 0
    pools: Mapping[str, PoolConfig] = field(default_factory=dict)
    endpoints: Mapping[str, PoolGauge] = field(default_factory=dict)


class LedgerCollector(Collector):
    """Turns totals into metric families at each scrape."""

    def __init__(self, ledger: Ledger, programmed: Programmed) -> None:
        self._ledger = ledger
        self._programmed = programmed

    def collect(self) -> Iterator[Metric]:
        yield from self._requests()
        yield from self._decisions()
        yield from self._pools()
        yield from self._configuration()

    def _requests(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "modelrouter_requests",
            "Requests by the route, the pool that answered and the status code.",
            labels=[*LABELS, "code"],
        )
        retries = CounterMetricFamily(
            "modelrouter_retries", "Attempts after the first.", labels=LABELS
        )
        tokens = CounterMetricFamily(
            "modelrouter_tokens",
            "Tokens as the pools reported them.",
            labels=[*LABELS, "direction"],
        )
        cost = CounterMetricFamily(
            "modelrouter_cost_dollars",
            "Tokens by the pool's price, in US dollars.",
            labels=LABELS,
        )
        duration = HistogramMetricFamily(
            "modelrouter_request_duration_seconds",
            "Time from the request to the end of its answer.",
            labels=LABELS,
        )
        first_byte = HistogramMetricFamily(
            "modelrouter_time_to_first_byte_seconds",
            "Time from the request to the first byte of its answer.",
            labels=LABELS,
        )
        for key, totals in self._ledger.totals.items():
            labels = list(key)
            for code, count in totals.codes.items():
                requests.add_metric([*labels, str(code)], count)
            retries.add_metric(labels, totals.retries)
            tokens.add_metric([*labels, "prompt"], totals.prompt_tokens)
            tokens.add_metric([*labels, "completion"], totals.completion_tokens)
            cost.add_metric(labels, totals.cost)
            _add_histogram(duration, labels, totals.duration)
            _add_histogram(first_byte, labels, totals.first_byte)
        yield from (requests, retries, tokens, cost, duration, first_byte)

    def _decisions(self) -> Iterator[Metric]:
        decisions = CounterMetricFamily(
            "modelrouter_decisions",
            "Requests by route and the rule that placed them.",
            labels=["route", "rule"],
        )
        for key, count in self._ledger.decisions.items():
            decisions.add_metric(list(key), count)
        refusals = CounterMetricFamily(
            "modelrouter_refusals", "Requests refused by the policy, by error.", labels=["error"]
        )
        for code, count in self._ledger.refusals.items():
            refusals.add_metric([code], count)
        fall_through = CounterMetricFamily(
            "modelrouter_fall_through_requests",
            "Requests that Envoy placed alone because the agent did not answer it.",
            value=self._ledger.fall_through,
        )
        seconds = HistogramMetricFamily(
            "modelrouter_decision_duration_seconds", "Time to decide one request.", labels=[]
        )
        _add_histogram(seconds, [], self._ledger.decision_time)
        yield from (decisions, refusals, fall_through, seconds)

    def _pools(self) -> Iterator[Metric]:
        in_flight = GaugeMetricFamily(
            "modelrouter_in_flight_requests",
            "Requests that a pool is working on for this router.",
            labels=["pool"],
        )
        endpoints = GaugeMetricFamily(
            "modelrouter_pool_endpoints",
            "Endpoints of a pool; ready ones pass their health checks and are not ejected. Ejected "
            "ones failed requests and get none for a while.",
            labels=["pool", "state"],
        )
        for pool, gauge in self._programmed.endpoints.items():
            endpoints.add_metric([pool, "ready"], gauge.ready)
            endpoints.add_metric([pool, "total"], gauge.total)
            endpoints.add_metric([pool, "ejected"], gauge.ejected)
            in_flight.add_metric([pool], gauge.active)
        failed = CounterMetricFamily(
            "modelrouter_failed_streams",
            "Attempts at a pool that were answered by 200 and a stream that began with an error.",
            labels=["pool"],
        )
        for pool, count in self._ledger.failed_streams.items():
            failed.add_metric([pool], count)
        info = InfoMetricFamily("modelrouter_pool", "Facts of a pool.", labels=["pool"])
        quality = GaugeMetricFamily(
            "modelrouter_pool_quality", "The quality stated for a pool, 0 to 1.", labels=["pool"]
        )
        for name, pool_config in self._programmed.pools.items():
            info.add_metric([name], {"model": pool_config.model, "zone": pool_config.zone or ""})
            if pool_config.quality is not None:
                quality.add_metric([name], float(pool_config.quality))
        yield from (in_flight, endpoints, failed, info, quality)

    def _configuration(self) -> Iterator[Metric]:
        info = InfoMetricFamily(
            "modelrouter_config",
            "The configuration that Envoy has acknowledged.",
            value={"version": self._programmed.version},
        )
        applied = CounterMetricFamily(
            "modelrouter_config_updates",
            "Configurations taken over or rejected.",
            labels=["result"],
        )
        applied.add_metric(["applied"], self._programmed.applied)
        applied.add_metric(["rejected"], self._programmed.rejected)
        yield from (info, applied)


def make_registry(ledger: Ledger, programmed: Programmed) -> CollectorRegistry:
    """A registry with the process's own figures and the ledger's."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    registry.register(LedgerCollector(ledger, programmed))
    return registry


def _add_histogram(family: HistogramMetricFamily, labels: list[str], histogram: Histogram) -> None:
    family.add_metric(labels, list(histogram.cumulative()), histogram.total)
