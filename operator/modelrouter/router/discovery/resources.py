"""Resources that Envoy is configured with, and what differs between two sets of them.

Everything here is pure. A resource is opaque: its bytes are a serialised protobuf message that
somebody else built, and its version is a hash of those bytes, so that two runs of the agent give
the same version to the same content. That is what lets an Envoy that outlived its agent keep what
it has.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
ENDPOINTS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
ROUTES = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"

MAKE_ORDER = (CLUSTER, ENDPOINTS, SECRET, ROUTES)
"""The order in which additions and changes go out, so that nothing is named before it exists.

https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#eventual-consistency-considerations
"""


def version_of(body: bytes) -> str:
    """A short hash, the same in every process. Processors compute SHA-1 by themselves."""
    return hashlib.sha1(body, usedforsecurity=False).hexdigest()[:16]


class Resource:
    """One resource's bytes with their version.

    The version is computed when first asked for: hashing 2,000 clusters at once would hold the
    event loop for several milliseconds, while sending them is done in slices anyway.
    """

    __slots__ = ("_version", "body")

    def __init__(self, body: bytes, version: str | None = None) -> None:
        self.body = body
        self._version = version

    @property
    def version(self) -> str:
        """A short hash of the bytes, the same in every process."""
        if self._version is None:
            self._version = version_of(self.body)
        return self._version

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Resource) and self.body == other.body

    def __hash__(self) -> int:
        return hash(self.body)

    def __repr__(self) -> str:
        return f"Resource({self.version}, {len(self.body)} bytes)"


@dataclass(frozen=True, slots=True)
class ResourceSet:
    """Everything that Envoy should have, by name, already serialised.

    Endpoints carry the name of their cluster. Each route configuration must be one that a listener
    asks for, because a version counts as acknowledged only when all of its routes are.
    """

    clusters: Mapping[str, bytes] = field(default_factory=dict)
    endpoints: Mapping[str, bytes] = field(default_factory=dict)
    secrets: Mapping[str, bytes] = field(default_factory=dict)
    routes: Mapping[str, bytes] = field(default_factory=dict)
    route_versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of routes that were computed ahead: hashing megabytes takes milliseconds."""

    def with_versions(self) -> ResourceSet:
        """The same, with the versions of the routes computed."""
        versions = {name: version_of(body) for name, body in self.routes.items()}
        return dataclasses.replace(self, route_versions=versions)

    def of(self, kind: str) -> Mapping[str, bytes]:
        """The bodies of one type URL."""
        if kind == CLUSTER:
            return self.clusters
        if kind == ENDPOINTS:
            return self.endpoints
        if kind == SECRET:
            return self.secrets
        if kind == ROUTES:
            return self.routes
        raise KeyError(kind)


@dataclass(frozen=True, slots=True)
class Change:
    """What one type of resource gained, altered and lost."""

    kind: str
    updated: tuple[str, ...]
    removed: tuple[str, ...]


Catalog = dict[str, dict[str, Resource]]
"""What Envoy should have: type URL, then name, then resource."""


def empty_catalog() -> Catalog:
    """A catalog that knows every type and has nothing."""
    return {kind: {} for kind in MAKE_ORDER}


def replace(catalog: Catalog, wanted: ResourceSet) -> list[Change]:
    """Make `catalog` hold exactly `wanted`; return what changed, in the order of making.

    Equal bytes keep their `Resource`, and with it the version that was computed for them.
    """
    changes = []
    for kind in MAKE_ORDER:
        bodies, old = wanted.of(kind), catalog[kind]
        new: dict[str, Resource] = {}
        updated = []
        for name, body in bodies.items():
            known = old.get(name)
            if known is None or known.body != body:
                ahead = wanted.route_versions.get(name) if kind == ROUTES else None
                known = Resource(body, ahead)
                updated.append(name)
            new[name] = known
        removed = tuple(name for name in old if name not in new)
        catalog[kind] = new
        if updated or removed:
            changes.append(Change(kind, tuple(updated), removed))
    return changes


@dataclass(frozen=True, slots=True)
class Push:
    """One response to Envoy: resources of one type to add or replace, and names to take away."""

    kind: str
    resources: Mapping[str, Resource]
    removed: tuple[str, ...] = ()
