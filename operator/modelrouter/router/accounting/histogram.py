"""A histogram that costs one bisect and two additions per observation."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

# From OpenTelemetry's advice for gen_ai.client.operation.duration and
# gen_ai.server.time_to_first_token, in seconds:
# https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/
DURATION_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96,
                    81.92, 163.84, 327.68)  # fmt: skip
FIRST_BYTE_BUCKETS = (0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5,
                      10.0, 30.0)  # fmt: skip
DECISION_BUCKETS = (0.00001, 0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01,
                    0.05)  # fmt: skip


class Histogram:
    """Counts by bucket, with the sum of all values, as Prometheus has them."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> Iterator[tuple[str, float]]:
        """Upper bound and cumulative count of every bucket, `+Inf` last."""
        bounds = [*map(str, self.bounds), "+Inf"]
        return zip(bounds, map(float, accumulate(self.counts)), strict=True)
