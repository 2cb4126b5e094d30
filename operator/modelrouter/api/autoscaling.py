"""`autoscaling` of a pool: between how many replicas, by which load, and what happens at zero."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self, get_args

from pydantic import ConfigDict, Field, model_validator

from modelrouter.api.admission import Cel, checked_by
from modelrouter.api.quantities import PositiveDuration, milliseconds
from modelrouter.api.strictness import StrictModel, invalid


class ScalingEngine(StrEnum):
    """Who decides how many replicas run."""

    BUILT_IN = "BuiltIn"
    KEDA = "KEDA"


class OnColdStart(StrEnum):
    """What becomes of a request for a pool none of whose replicas runs yet."""

    WAIT = "Wait"
    FAILOVER = "Failover"


TargetMetric = Literal["running_requests", "waiting_requests", "kv_cache_percent"]
"""What a target is about: the attribute of `ScalingTarget` that is given."""


class ScalingTarget(StrictModel):
    """The load that each replica should have. Exactly one figure is given."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Cel(
                "[has(self.runningRequests), has(self.waitingRequests), has(self.kvCachePercent)]"
                ".filter(given, given).size() == 1",
                "exactly one of runningRequests, waitingRequests and kvCachePercent is needed",
            )
        )
    )

    running_requests: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Requests under way, by the routers' own counts, those that wait for a replica among them."""
    waiting_requests: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Requests in vLLM's queue (`vllm:num_requests_waiting`)."""
    kv_cache_percent: Annotated[int, Field(ge=1, le=100)] | None = None
    """Share of vLLM's KV cache in use (`vllm:kv_cache_usage_perc`), in percent."""

    @model_validator(mode="after")
    def _has_one_figure(self) -> Self:
        given = [name for name in get_args(TargetMetric) if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                "exactly one of runningRequests, waitingRequests and kvCachePercent is needed; "
                f"found {len(given)}"
            )
        return self

    @property
    def metric(self) -> TargetMetric:
        """Which figure is given."""
        names: tuple[TargetMetric, ...] = get_args(TargetMetric)
        return next(name for name in names if getattr(self, name) is not None)

    @property
    def value(self) -> int:
        """The figure."""
        return int(getattr(self, self.metric))


_COLD_START_FIELDS = ("on_cold_start", "max_waiting", "wait_timeout")


class Autoscaling(StrictModel):
    """As many replicas as the load needs. It takes the place of `replicas`."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Cel(
                "self.minReplicas <= self.maxReplicas",
                "minReplicas must not be larger than maxReplicas",
            ),
            Cel(
                "self.minReplicas == 0 || !(has(self.onColdStart) || has(self.maxWaiting) || "
                "has(self.waitTimeout))",
                "onColdStart, maxWaiting and waitTimeout are for pools with minReplicas 0",
            ),
        )
    )

    engine: ScalingEngine = ScalingEngine.BUILT_IN
    """`BuiltIn`: this operator, with nothing else installed. `KEDA`: the operator makes a
    ScaledObject, and KEDA scales."""
    min_replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    """Replicas at least. 0: none runs while there are no requests, and a request starts one."""
    max_replicas: Annotated[int, Field(ge=1, le=1000)]
    """Replicas at most."""
    target: ScalingTarget
    """The load that each replica should have."""
    scale_down_delay: PositiveDuration = "5m"
    """How long fewer replicas must have been enough before there are fewer."""
    on_cold_start: OnColdStart | None = None
    """With minReplicas 0, while no replica runs: `Wait` (the default) lets requests wait for
    the first one, `Failover` sends them to the next pool of their route that is ready. Both start
    a replica."""
    max_waiting: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """With minReplicas 0: requests that wait in one router pod at most; the next one is answered
    with 503 and `retry-after`. Default: 100."""
    wait_timeout: PositiveDuration | None = None
    """With minReplicas 0: how long a request waits at most. Default: 10m."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise invalid(
                "minReplicas",
                f"minReplicas must not be larger than maxReplicas: {self.min_replicas} > "
                f"{self.max_replicas}",
            )
        given = [name for name in _COLD_START_FIELDS if getattr(self, name) is not None]
        if given and self.min_replicas > 0:
            raise ValueError(
                "onColdStart, maxWaiting and waitTimeout are for pools with minReplicas 0"
            )
        return self

    @property
    def from_zero(self) -> bool:
        """Whether there may be no replica at all."""
        return self.min_replicas == 0

    @property
    def cold_start(self) -> OnColdStart:
        """What happens to a request while no replica runs."""
        return self.on_cold_start or OnColdStart.WAIT

    @property
    def most_waiting(self) -> int:
        """Requests that wait in one router pod at most."""
        return self.max_waiting or 100

    @property
    def wait_timeout_ms(self) -> int:
        """How long a request waits at most."""
        return milliseconds(self.wait_timeout or "10m")

    @property
    def scale_down_seconds(self) -> float:
        """How long fewer replicas must have been enough."""
        return milliseconds(self.scale_down_delay) / 1000
