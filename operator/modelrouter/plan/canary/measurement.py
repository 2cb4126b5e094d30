"""What was measured of one arm of a canary, over one window of time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Literal, Self, get_args

from modelrouter.plan.canary import histogram

FailureClass = Literal["serverError", "rateLimited", "brokenStream", "rescued"]
"""How a request failed, as far as the arm's pool is concerned. Each failed request has one class:

- `serverError`: the client got a status of 500 or more, or 401, 403 or 404: the router has seen to
  the caller's key and model, so those speak of the pool's,
- `rateLimited`: it got 429,
- `brokenStream`: its stream did not end as it should,
- `rescued`: another attempt, or another pool, had to answer it.
"""

FAILURE_CLASSES: tuple[FailureClass, ...] = get_args(FailureClass)


class MeasurementError(ValueError):
    """A document is none of a measurement; the message names the field."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Of a set of numbers what their mean and variance follow from; sums that can be added up."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0
    """Sum of their squares."""

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Of these numbers."""
        listed = list(values)
        return cls(len(listed), math.fsum(listed), math.fsum(value * value for value in listed))

    @property
    def mean(self) -> float | None:
        """None without any number."""
        return self.total / self.n if self.n else None

    @property
    def variance(self) -> float:
        """Of the population that the numbers are a sample of; 0 for fewer than two."""
        if self.n < 2:
            return 0.0
        return max(self.squares - self.total * self.total / self.n, 0.0) / (self.n - 1)

    def merge(self, other: Moments) -> Moments:
        """Of the numbers of both."""
        return Moments(self.n + other.n, self.total + other.total, self.squares + other.squares)

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"n": self.n, "total": self.total, "squares": self.squares}


@dataclass(frozen=True, slots=True)
class Measurement:
    """One arm's requests that ended in a window.

    A request succeeded if the arm's pool answered its first attempt with a status that is none of
    a failure's, and the stream, if it was one, ended whole.
    """

    requests: int = 0
    """All of them, without those whose client left before the answer."""
    failures: Mapping[FailureClass, int] = field(default_factory=dict)
    """Failed requests by `FailureClass`; classes without any may be missing."""
    latency: Mapping[int, int] = field(default_factory=dict)
    """Histogram of the time to the end of the answer; of those that succeeded."""
    first_token: Mapping[int, int] = field(default_factory=dict)
    """Histogram of the time to the first token; of streams that succeeded."""
    tokens_per_second: Moments = Moments()
    """Completion tokens over the time from the first token to the end, by request."""
    cost: Moments = Moments()
    """US dollars, by request."""
    quality: Moments = Moments()
    """Scores from 0 to 1 that clients gave by feedback."""

    @property
    def failed(self) -> int:
        """Requests that did not succeed."""
        return sum(self.failures.values())

    def merge(self, other: Measurement) -> Measurement:
        """The requests of both."""
        failures = dict(self.failures)
        for kind, count in other.failures.items():
            failures[kind] = failures.get(kind, 0) + count
        return Measurement(
            self.requests + other.requests,
            failures,
            histogram.merge(self.latency, other.latency),
            histogram.merge(self.first_token, other.first_token),
            self.tokens_per_second.merge(other.tokens_per_second),
            self.cost.merge(other.cost),
            self.quality.merge(other.quality),
        )

    def document(self) -> dict[str, Any]:
        """As `/measurementz` shows it; `read_document` reads it."""
        return {
            "requests": self.requests,
            "failures": {kind: self.failures.get(kind, 0) for kind in FAILURE_CLASSES},
            "latency": {str(bucket): count for bucket, count in sorted(self.latency.items())},
            "firstToken": {
                str(bucket): count for bucket, count in sorted(self.first_token.items())
            },
            "tokensPerSecond": self.tokens_per_second.document(),
            "cost": self.cost.document(),
            "quality": self.quality.document(),
        }


NOTHING = Measurement()
"""Not one request."""


def merged(measurements: Iterable[Measurement]) -> Measurement:
    """All of them together, as those of a router's pods."""
    return reduce(Measurement.merge, measurements, NOTHING)


def read_document(document: object) -> Measurement:
    """A measurement from its document. Fields that are missing count as nothing measured.

    Raises MeasurementError for what cannot have been measured: another pod may be of another
    version, and a figure that is misread must not move traffic.
    """
    fields = _mapping(document, "measurement")
    requests = _count(fields.get("requests", 0), "requests")
    told = _mapping(fields.get("failures", {}), "failures")
    if unknown := set(told).difference(FAILURE_CLASSES):
        raise MeasurementError(f"failures.{min(unknown)}: no class of failures")
    failures = {
        kind: _count(told[kind], f"failures.{kind}") for kind in FAILURE_CLASSES if kind in told
    }
    if sum(failures.values()) > requests:
        raise MeasurementError(f"failures: more than the {requests} requests")
    return Measurement(
        requests,
        {kind: count for kind, count in failures.items() if count},
        _buckets(fields.get("latency", {}), "latency"),
        _buckets(fields.get("firstToken", {}), "firstToken"),
        _moments(fields.get("tokensPerSecond", {}), "tokensPerSecond"),
        _moments(fields.get("cost", {}), "cost"),
        _moments(fields.get("quality", {}), "quality"),
    )


def _mapping(value: object, name: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise MeasurementError(f"{name}: not an object")
    return value


def _count(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise MeasurementError(f"{name}: not a whole number of 0 or more")
    return value


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise MeasurementError(f"{name}: not a number")
    return float(value)


def _buckets(value: object, name: str) -> dict[int, int]:
    buckets: dict[int, int] = {}
    for key, count in _mapping(value, name).items():
        if not str(key).isdecimal() or int(key) > histogram.LAST_BUCKET:
            raise MeasurementError(f"{name}.{key}: not a bucket of 0 to {histogram.LAST_BUCKET}")
        if number := _count(count, f"{name}.{key}"):
            buckets[int(key)] = number
    return buckets


def _moments(value: object, name: str) -> Moments:
    fields = _mapping(value, name)
    return Moments(
        _count(fields.get("n", 0), f"{name}.n"),
        _number(fields.get("total", 0), f"{name}.total"),
        _number(fields.get("squares", 0), f"{name}.squares"),
    )
