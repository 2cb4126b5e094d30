"""The server's figures under vLLM's metric names."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Protocol

from prometheus_client import generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

# vLLM's own bucket bounds, in seconds.
_FIRST_TOKEN_BOUNDS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5,
    10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
)  # fmt: skip
_INTER_TOKEN_BOUNDS = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5,
    10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
_REQUEST_BOUNDS = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0,
    120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0,
)  # fmt: skip

FINISHED_REASONS = ("stop", "length", "abort", "error", "repetition")
"""Values of `finished_reason`. All are exposed from the start, as vLLM does."""


class Occupancy(Protocol):
    """How full the engine is at this moment."""

    @property
    def running(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def kv_cache_usage(self) -> float: ...


class Histogram:
    """Counts of durations, in seconds, by upper bound.

    Kept here rather than in prometheus_client because an answer of many tokens has to be
    counted in one step.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float, times: int = 1) -> None:
        """Count `times` durations of this length."""
        self._counts[bisect_left(self._bounds, seconds)] += times
        self._sum += seconds * times

    def family(self, name: str, text: str, labels: dict[str, str]) -> Metric:
        """This histogram for exposition."""
        total = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, total))
        family = HistogramMetricFamily(name, text, labels=list(labels))
        family.add_metric(list(labels.values()), buckets, self._sum)
        return family


class Metrics:
    """All that the server counts. One engine, number 0."""

    def __init__(self, model_name: str, occupancy: Occupancy) -> None:
        self._labels = {"engine": "0", "model_name": model_name}
        self._occupancy = occupancy
        self.prompt_tokens = 0
        self.generation_tokens = 0
        self.prefix_queries = 0
        """Prompt tokens looked up in the prefix cache."""
        self.prefix_hits = 0
        """Prompt tokens found there."""
        self.finished = dict.fromkeys(FINISHED_REASONS, 0)
        self.first_token = Histogram(_FIRST_TOKEN_BOUNDS)
        self.inter_token = Histogram(_INTER_TOKEN_BOUNDS)
        self.request = Histogram(_REQUEST_BOUNDS)
        self.queue = Histogram(_REQUEST_BOUNDS)

    def exposition(self) -> bytes:
        """The body of `/metrics`."""
        return generate_latest(self)

    def collect(self) -> Iterator[Metric]:
        """Every metric with its current value."""
        now = self._occupancy
        yield self._gauge("num_requests_running", "Requests in execution.", now.running)
        yield self._gauge("num_requests_waiting", "Requests waiting to run.", now.waiting)
        by_reason = self._gauges(
            "num_requests_waiting_by_reason", "Requests waiting to run, by reason.", "reason"
        )
        # A simulated request only ever waits for a slot or for blocks, never for a transfer.
        self._add(by_reason, "capacity", now.waiting)
        self._add(by_reason, "deferred", 0)
        yield by_reason
        yield self._gauge(
            "kv_cache_usage_perc", "Share of the KV cache in use; 1 is full.", now.kv_cache_usage
        )
        sleep = self._gauges("engine_sleep_state", "Whether the engine sleeps.", "sleep_state")
        for state, value in (("awake", 1), ("weights_offloaded", 0), ("discard_all", 0)):
            self._add(sleep, state, value)
        yield sleep
        yield self._counter(
            "prefix_cache_queries", "Tokens looked up in the prefix cache.", self.prefix_queries
        )
        yield self._counter(
            "prefix_cache_hits", "Tokens found in the prefix cache.", self.prefix_hits
        )
        yield self._counter("prompt_tokens", "Prompt tokens processed.", self.prompt_tokens)
        yield self._counter("generation_tokens", "Tokens generated.", self.generation_tokens)
        success = CounterMetricFamily(
            "vllm:request_success",
            "Requests finished, by reason.",
            labels=[*self._labels, "finished_reason"],
        )
        for reason, count in self.finished.items():
            success.add_metric([*self._labels.values(), reason], count)
        yield success
        for name, text, histogram in (
            ("time_to_first_token_seconds", "Time to the first token.", self.first_token),
            ("inter_token_latency_seconds", "Time between two tokens.", self.inter_token),
            ("e2e_request_latency_seconds", "Time of a whole request.", self.request),
            ("request_queue_time_seconds", "Time a request waited to run.", self.queue),
        ):
            yield histogram.family(f"vllm:{name}", text, self._labels)

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        family = GaugeMetricFamily(f"vllm:{name}", text, labels=list(self._labels))
        family.add_metric(list(self._labels.values()), value)
        return family

    def _gauges(self, name: str, text: str, label: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"vllm:{name}", text, labels=[*self._labels, label])

    def _add(self, family: GaugeMetricFamily, label_value: str, value: float) -> None:
        family.add_metric([*self._labels.values(), label_value], value)

    def _counter(self, name: str, text: str, value: float) -> Metric:
        family = CounterMetricFamily(f"vllm:{name}", text, labels=list(self._labels))
        family.add_metric(list(self._labels.values()), value)
        return family
