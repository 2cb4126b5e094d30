"""What is known of the cluster, as far as plans and statuses depend on it.

Whoever watches the cluster fills these in. Equal facts give equal plans.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from modelrouter.api.problems import Problem


class SecretState(StrEnum):
    """Whether a Secret could be read."""

    PRESENT = "Present"
    MISSING = "Missing"
    FORBIDDEN = "Forbidden"
    """The operator may not read it: `secretAccess: Named`, and it is not among the names."""


@dataclass(frozen=True, slots=True)
class SecretFacts:
    """What is known of a Secret: never a value."""

    state: SecretState
    keys: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A port of a Service."""

    name: str
    """Empty for the only port of a Service that does not name it."""
    number: int


@dataclass(frozen=True, slots=True)
class Counts:
    """Endpoints of a pool."""

    ready: int
    total: int
    ejected: int = 0
    """Those that a router sends nothing to for a while, because requests to them failed."""


@dataclass(frozen=True, slots=True)
class PoolLoad:
    """Requests for a pool at one router pod."""

    in_flight: int
    """Sent to an endpoint of the pool, and not answered in full yet."""
    waiting: int
    """Held by the router until the pool has an endpoint."""


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """What is known of a Service and of its EndpointSlices."""

    type: str = "ClusterIP"
    ports: tuple[ServicePort, ...] = ()
    endpoints: Mapping[str, Counts] = field(default_factory=dict)
    """By the name of the port: what the EndpointSlices list, each address once."""


@dataclass(frozen=True, slots=True)
class NamespaceFacts:
    """What is known of the things that the pools of a namespace refer to.

    A name that is absent from `secrets` has not been looked up yet. `services` is complete.
    """

    secrets: Mapping[str, SecretFacts] = field(default_factory=dict)
    services: Mapping[str, ServiceFacts] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RouterPod:
    """One pod of a router."""

    name: str
    ready: bool
    version: str | None = None
    """The version that its Envoy has acknowledged. None: it cannot be asked."""
    pools: Mapping[str, Counts] = field(default_factory=dict)
    """Endpoints by pool, as this pod's Envoy sees them; empty while it cannot be asked."""


@dataclass(frozen=True, slots=True)
class RouterFacts:
    """What is known of a router."""

    pods: tuple[RouterPod, ...] = ()
    problem: str = ""
    """Why its objects cannot be written, for people; empty: they can."""


@dataclass(frozen=True, slots=True)
class Programming:
    """Whether all pods of a router work by the present generation of a route."""

    programmed: bool = False
    reason: str = ""
    """For people, where they do not: which pod has not got that far, and why."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The resource that a status is about, as it is stored."""

    kind: str
    namespace: str
    name: str
    generation: int
    problems: tuple[Problem, ...] = ()
    """Why it cannot be read by the models of this version; empty: it can."""
