"""A `Measurement` that is still being made. Updated once per request, so in plain numbers."""

from __future__ import annotations

from modelrouter.plan.canary.histogram import bucket_of
from modelrouter.plan.canary.measurement import FailureClass, Measurement, Moments


class Sums:
    """Running `Moments`."""

    __slots__ = ("n", "squares", "total")

    def __init__(self) -> None:
        self.n = 0
        self.total = 0.0
        self.squares = 0.0

    def add(self, value: float) -> None:
        """One more number."""
        self.n += 1
        self.total += value
        self.squares += value * value

    def absorb(self, other: Sums) -> None:
        """All numbers of another."""
        self.n += other.n
        self.total += other.total
        self.squares += other.squares

    @property
    def moments(self) -> Moments:
        """As they are now."""
        return Moments(self.n, self.total, self.squares)


class Tally:
    """The requests of one arm in some span of time."""

    __slots__ = (
        "cost", "failures", "first_token", "latency", "quality", "requests", "tokens_per_second",
    )  # fmt: skip

    def __init__(self) -> None:
        self.requests = 0
        self.failures: dict[FailureClass, int] = {}
        self.latency: dict[int, int] = {}
        self.first_token: dict[int, int] = {}
        self.tokens_per_second = Sums()
        self.cost = Sums()
        self.quality = Sums()

    def fail(self, failure: FailureClass) -> None:
        """A request that the arm's pool did not serve as it should."""
        self.requests += 1
        self.failures[failure] = self.failures.get(failure, 0) + 1

    def succeed(self, latency_ms: float, first_token_ms: float | None) -> None:
        """A request that it did; `first_token_ms` is for streams."""
        self.requests += 1
        bucket = bucket_of(latency_ms)
        self.latency[bucket] = self.latency.get(bucket, 0) + 1
        if first_token_ms is not None:
            bucket = bucket_of(first_token_ms)
            self.first_token[bucket] = self.first_token.get(bucket, 0) + 1

    def absorb(self, other: Tally) -> None:
        """All of another."""
        self.requests += other.requests
        for mine, theirs in (
            (self.latency, other.latency),
            (self.first_token, other.first_token),
        ):
            for bucket, count in theirs.items():
                mine[bucket] = mine.get(bucket, 0) + count
        for kind, count in other.failures.items():
            self.failures[kind] = self.failures.get(kind, 0) + count
        self.tokens_per_second.absorb(other.tokens_per_second)
        self.cost.absorb(other.cost)
        self.quality.absorb(other.quality)

    @property
    def measurement(self) -> Measurement:
        """As it is now."""
        return Measurement(
            self.requests,
            dict(self.failures),
            dict(self.latency),
            dict(self.first_token),
            self.tokens_per_second.moments,
            self.cost.moments,
            self.quality.moments,
        )


class Arms:
    """Both arms of a canary in some span of time."""

    __slots__ = ("canary", "stable")

    def __init__(self) -> None:
        self.stable = Tally()
        self.canary = Tally()

    def absorb(self, other: Arms) -> None:
        """All of another."""
        self.stable.absorb(other.stable)
        self.canary.absorb(other.canary)

    def copy(self) -> Arms:
        """One that stays as it is."""
        made = Arms()
        made.absorb(self)
        return made
