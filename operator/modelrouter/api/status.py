"""The `status` of both resources: what the operator writes and people read."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from modelrouter.api.admission import LIST_OF_ONE_OWNER, keyed_by
from modelrouter.api.canary_status import CanaryStatus
from modelrouter.api.metadata import ObjectName
from modelrouter.api.pool import Source
from modelrouter.api.pool_name import PoolName
from modelrouter.api.strictness import StrictModel


class Truth(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(StrictModel):
    """One thing that is known about the resource, as in Kubernetes' own `metav1.Condition`."""

    type: Annotated[str, Field(max_length=316)]
    """What the condition is about, such as `Ready`."""
    status: Truth
    """Whether it holds."""
    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The `metadata.generation` that this was found out for."""
    last_transition_time: datetime
    """When `status` last changed."""
    reason: Annotated[
        str,
        Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"),
    ]
    """Why, in one word for programs."""
    message: Annotated[str, Field(max_length=32768)]
    """Why, in a sentence for people, and what to do."""


Conditions = Annotated[list[Condition], Field(max_length=16), keyed_by("type")]


class EndpointCount(StrictModel):
    """How many endpoints there are."""

    ready: Annotated[int, Field(ge=0)]
    """Endpoints that get requests."""
    total: Annotated[int, Field(ge=0)]
    """All endpoints that are known."""
    summary: Annotated[str, Field(max_length=32)]
    """Both in short, such as `2/3`."""


class ScalingStatus(StrictModel):
    """What the built-in autoscaler has decided. It changes when the decision does."""

    desired_replicas: Annotated[int, Field(ge=0)]
    """How many replicas are wanted."""
    reason: Annotated[str, Field(min_length=1, max_length=64)]
    """What decides, in one word: `WithinTarget`, `AtMinimum`, `AtMaximum` (the load asks for more),
    `ScaledToZero`, or `LoadUnknown` (figures are missing, so no replica is taken away)."""
    message: Annotated[str, Field(max_length=32768)]
    """The reason in a sentence for people, with the load as it was at the decision."""


class ModelPoolStatus(StrictModel):
    """What is known of the pool."""

    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The `metadata.generation` that this status was made for."""
    source: Source | None = None
    """Which source the pool has."""
    endpoints: EndpointCount | None = None
    """Endpoints, as the routers that use the pool see them."""
    replicas: Annotated[int, Field(ge=0)] | None = None
    """Pods of a `vllm` pool, ready or not."""
    selector: Annotated[str, Field(max_length=1024)] | None = None
    """Label selector of these pods, for `kubectl get pods -l` and autoscalers."""
    autoscaling: ScalingStatus | None = None
    """What the built-in autoscaler has decided."""
    conditions: Conditions = []
    """`Ready` says whether requests can be served, and the others why not."""


class TrafficShare(StrictModel):
    """A pool's weight in force."""

    rule: ObjectName
    """Name of the rule."""
    pool: PoolName
    """The pool, or `pool/adapter`."""
    weight: Annotated[int, Field(ge=0)]
    """Weight relative to the other targets of the rule."""
    segment: bool | None = None
    """True: this is about the requests that a canary is limited to by its `match`."""


class ModelRouteStatus(StrictModel):
    """What is known of the route."""

    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The `metadata.generation` that this status was made for."""
    url: Annotated[str, Field(max_length=1024)] | None = None
    """Base URL for clients in the cluster."""
    traffic: Annotated[list[TrafficShare], Field(max_length=2048), LIST_OF_ONE_OWNER] = []
    """The weights in force."""
    canary: CanaryStatus | None = None
    """How far the canary got."""
    conditions: Conditions = []
    """`Accepted`, `ResolvedRefs` and `Programmed` say how far the route got, `Ready` whether
    requests can be served."""
