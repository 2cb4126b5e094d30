"""`canary.analysis`: what the candidate of a canary has to prove, and by which figures."""

from __future__ import annotations

import re
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal, Self, get_args

from pydantic import ConfigDict, Field, model_validator

from modelrouter.api.admission import LIST_OF_ONE_OWNER, Cel, checked_by
from modelrouter.api.metadata import ObjectName
from modelrouter.api.quantities import (
    BaseUrl,
    DecimalText,
    PositiveDuration,
    duration_between,
    milliseconds,
)
from modelrouter.api.strictness import StrictModel, invalid


class CanaryMetric(StrEnum):
    """A figure of one side of a canary."""

    SUCCESS_RATE = "successRate"
    ERROR_RATE = "errorRate"
    SERVER_ERROR_RATE = "serverErrorRate"
    RATE_LIMITED_RATE = "rateLimitedRate"
    BROKEN_STREAM_RATE = "brokenStreamRate"
    P50_LATENCY = "p50Latency"
    P95_LATENCY = "p95Latency"
    P50_FIRST_TOKEN = "p50FirstToken"
    P95_FIRST_TOKEN = "p95FirstToken"
    TOKENS_PER_SECOND = "tokensPerSecond"
    COST_PER_REQUEST = "costPerRequest"
    QUALITY = "quality"

    @property
    def is_share(self) -> bool:
        """Whether it lies between 0 and 1."""
        return self.value.endswith("Rate") or self is CanaryMetric.QUALITY


_SHARES = str([metric.value for metric in CanaryMetric if metric.is_share])
_SHARE_RULE = 'a rate or quality lies between "0" and "1": 99 % is "0.99"'
BoundKind = Literal["min", "max", "min_ratio_to_stable", "max_ratio_to_stable"]
"""Which bound a check has: the attribute that is given."""
_BOUND_KINDS: tuple[BoundKind, ...] = get_args(BoundKind)
_BOUND_RULE = "exactly one of min, max, minRatioToStable and maxRatioToStable is needed"
PLACEHOLDERS = ("namespace", "route", "rule", "pool", "window")
"""What a query may hold between `{{` and `}}`."""
_PLACEHOLDER_RULE = (
    "a query may hold {{namespace}}, {{route}}, {{rule}}, {{pool}} and {{window}}, and no other "
    "double braces"
)


def _known_placeholders() -> str:
    removed = "self.query" + "".join(f".replace('{{{{{name}}}}}', '')" for name in PLACEHOLDERS)
    return f"!has(self.query) || !{removed}.contains('{{{{')"


class CanaryCheck(StrictModel):
    """A bound that a figure of the candidate has to keep."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Cel("has(self.metric) != has(self.query)", "exactly one of metric and query is needed"),
            Cel(
                "has(self.name) == has(self.query)",
                "a check with a query needs a name, and only such a check has one",
            ),
            Cel(
                "[has(self.min), has(self.max), has(self.minRatioToStable), "
                "has(self.maxRatioToStable)].filter(given, given).size() == 1",
                _BOUND_RULE,
            ),
            Cel(
                f"!has(self.metric) || !(self.metric in {_SHARES}) || "
                "((!has(self.min) || double(self.min) <= 1.0) && "
                "(!has(self.max) || double(self.max) <= 1.0))",
                _SHARE_RULE,
            ),
            Cel(_known_placeholders(), _PLACEHOLDER_RULE, at=".query"),
            Cel(
                "!has(self.query) || has(self.min) || has(self.max) || "
                "self.query.contains('{{pool}}')",
                "a ratio to the stable pool needs {{pool}} in the query",
                at=".query",
            ),
        )
    )

    metric: CanaryMetric | None = None
    """A ready-made figure. `successRate`: requests that the side's own pool answered at its first
    attempt with a status below 500 other than 401, 403, 404 and 429, whole. `errorRate`: all
    others, of which `serverErrorRate`, `rateLimitedRate` and `brokenStreamRate` are parts.
    Latencies and times to the first token are in seconds and about successful requests;
    `costPerRequest` is in US dollars, `quality` is the mean score of the feedback."""
    name: ObjectName | None = None
    """Name of a query, for statuses and Events."""
    query: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """PromQL with a single number as its result, for `prometheus`. `{{namespace}}`, `{{route}}`,
    `{{rule}}`, `{{pool}}` and `{{window}}` (such as `90s`) are filled in; it is asked for the
    candidate and, if it holds `{{pool}}`, for the stable pool."""
    min: DecimalText | None = None
    """The figure is at least this."""
    max: DecimalText | None = None
    """The figure is at most this."""
    min_ratio_to_stable: DecimalText | None = None
    """The figure is at least this many times that of the stable pool in the same window."""
    max_ratio_to_stable: DecimalText | None = None
    """The figure is at most this many times that of the stable pool in the same window."""

    @model_validator(mode="after")
    def _is_one_bound(self) -> Self:
        if (self.metric is None) == (self.query is None):
            raise ValueError("exactly one of metric and query is needed")
        if (self.name is None) != (self.query is None):
            raise ValueError("a check with a query needs a name, and only such a check has one")
        given = [kind for kind in _BOUND_KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(_BOUND_RULE)
        if self.metric is not None and not self.relative:
            _check_share(self.metric, given[0], self.bound)
        if self.query is not None:
            rest = re.sub("{{(" + "|".join(PLACEHOLDERS) + ")}}", "", self.query)
            if "{{" in rest:
                raise invalid("query", _PLACEHOLDER_RULE)
            if self.relative and "{{pool}}" not in self.query:
                raise invalid("query", "a ratio to the stable pool needs {{pool}} in the query")
        return self

    @property
    def label(self) -> str:
        """What people call it: the metric, or the query's name."""
        return self.metric.value if self.metric is not None else self.name or ""

    @property
    def kind(self) -> BoundKind:
        """Which bound is given."""
        return next(name for name in _BOUND_KINDS if getattr(self, name) is not None)

    @property
    def relative(self) -> bool:
        """Whether the bound is a multiple of the stable pool's figure."""
        return self.kind.endswith("stable")

    @property
    def bound(self) -> Decimal:
        """The number that is given."""
        return Decimal(str(getattr(self, self.kind)))


class HardLimit(StrictModel):
    """A bound that ends the canary at once when the candidate is beyond it."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Cel("has(self.min) != has(self.max)", "exactly one of min and max is needed"),
            Cel(
                f"!(self.metric in {_SHARES}) || "
                "((!has(self.min) || double(self.min) <= 1.0) && "
                "(!has(self.max) || double(self.max) <= 1.0))",
                _SHARE_RULE,
            ),
        )
    )

    metric: CanaryMetric
    """The figure, as in `checks`."""
    min: DecimalText | None = None
    """The figure is at least this."""
    max: DecimalText | None = None
    """The figure is at most this."""
    window: Annotated[PositiveDuration, *duration_between("1s", "2m")] = "30s"
    """So far back requests are looked at, 1s to 2m; never to before the step began."""
    min_requests: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    """With fewer requests of the candidate in the window there is no verdict."""

    @model_validator(mode="after")
    def _is_one_bound(self) -> Self:
        if (self.min is None) == (self.max is None):
            raise ValueError("exactly one of min and max is needed")
        _check_share(self.metric, "max" if self.min is None else "min", self.bound)
        return self

    @property
    def bound(self) -> Decimal:
        """The number that is given."""
        return Decimal(str(self.max if self.min is None else self.min))

    @property
    def window_seconds(self) -> int:
        """So far back requests are looked at, in whole seconds, at least one."""
        return max(milliseconds(self.window) // 1000, 1)


def _check_share(metric: CanaryMetric, field: str, bound: Decimal) -> None:
    if metric.is_share and bound > 1:
        raise invalid(field, _SHARE_RULE)


class PrometheusSource(StrictModel):
    """A Prometheus server that is asked for figures."""

    address: BaseUrl
    """Its address, such as `http://prometheus.monitoring:9090`; `/api/v1/query` is appended."""


class CanaryAnalysis(StrictModel):
    """How the candidate is judged."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Cel(
                "has(self.prometheus) || !has(self.checks) || "
                "self.checks.all(check, !has(check.query))",
                "a query needs prometheus: give its address",
                at=".checks",
            ),
            Cel(
                "!has(self.checks) || self.checks.all(check, !has(check.name) || "
                "self.checks.exists_one(other, has(other.name) && other.name == check.name))",
                "two checks have the same name",
                at=".checks",
            ),
        )
    )

    interval: Annotated[PositiveDuration, *duration_between("1s", "1h")] = "30s"
    """How often it is judged, 1s to 1h."""
    window: Annotated[PositiveDuration, *duration_between("1s", "1h")] = "1h"
    """So far back requests are looked at, at most 1h; never to before the step began."""
    min_requests: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """Requests of the candidate in the window without which an analysis is `Inconclusive`: the step
    goes on, neither passed nor failed."""
    checks: Annotated[list[CanaryCheck], Field(max_length=16), LIST_OF_ONE_OWNER] = []
    """All have to pass before a step may end. Without any, time alone decides."""
    failures_before_rollback: Annotated[int, Field(ge=1, le=100)] = 1
    """So many failed analyses in a row end the canary."""
    hard_limits: Annotated[list[HardLimit], Field(max_length=8), LIST_OF_ONE_OWNER] = []
    """Looked at every second; a breach ends the canary at once."""
    prometheus: PrometheusSource | None = None
    """Where the figures of `checks` come from, instead of the routers' own."""

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        seen: set[str] = set()
        for index, check in enumerate(self.checks):
            if check.query is not None and self.prometheus is None:
                field = f"checks[{index}].query"
                raise invalid(field, "a query needs prometheus: give its address")
            if check.name is not None and check.name in seen:
                raise invalid(
                    f"checks[{index}].name", f"two checks have the same name {check.name}"
                )
            seen.add(check.name or "")
        return self

    @property
    def interval_seconds(self) -> float:
        """How often it is judged."""
        return milliseconds(self.interval) / 1000

    @property
    def window_seconds(self) -> float:
        """So far back requests are looked at, at most."""
        return milliseconds(self.window) / 1000
