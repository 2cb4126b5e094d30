"""Endpoints of pools, for EDS."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

# xds-protos ships neither stubs nor a py.typed marker.
from envoy.config.endpoint.v3 import (  # type: ignore[import-untyped]
    endpoint_components_pb2,
    endpoint_pb2,
)

from modelrouter.api.quantities import join_address
from modelrouter.router.envoy.messages import Resource, socket_address
from modelrouter.router.envoy.settings import EnvoySettings
from modelrouter.router.envoy.typed import ENDPOINTS, serialized
from modelrouter.router.envoy.void import void_endpoint

METADATA = "mr"

ONE_IS_ENOUGH = 10_000_000
"""`overprovisioning_factor` in percent: one healthy endpoint of 100,000 keeps all the traffic."""


def endpoint(pool: str, host: str, port: int, hostname: str | None = None) -> Resource:
    """One endpoint. Its metadata is how responses tell the pool from the void."""
    return {
        "endpoint": {
            "address": socket_address(host, port),
            # Attempts share one header map: without a name the previous attempt's host stays.
            "hostname": hostname or join_address(host, port),
        },
        "metadata": {"filter_metadata": {METADATA: {"pool": pool}}},
    }


def load_assignment(pool: str, addresses: Iterable[str], settings: EnvoySettings) -> Resource:
    """`ClusterLoadAssignment` of a pool with these `ip:port` addresses, none included."""
    endpoints = [endpoint(pool, *host_and_port(address)) for address in addresses]
    return assignment(pool, endpoints, settings)


def assignment(
    pool: str, endpoints: list[Resource], settings: EnvoySettings, *, dns: bool = False
) -> Resource:
    """`ClusterLoadAssignment` of these endpoints and the void."""
    own = [{"priority": 0, "lb_endpoints": endpoints}] if endpoints else []
    return {
        "cluster_name": pool,
        "endpoints": [*own, void_endpoint(settings, dns=dns)],
        "policy": {"overprovisioning_factor": ONE_IS_ENOUGH},
    }


def serialized_assignment(
    pool: str,
    addresses: Iterable[str],
    settings: EnvoySettings,
    weights: Mapping[str, int] | None = None,
) -> bytes:
    """The same as bytes, with weights of addresses if need be, at a fiftieth of the cost for
    addresses that were there before.

    Pools that follow a Service change often, and each time by one endpoint of many.
    """
    whole = endpoint_pb2.ClusterLoadAssignment.FromString(_without_own(pool, settings))
    own = endpoint_components_pb2.LocalityLbEndpoints()
    for address in addresses:
        own.MergeFromString(_alone(pool, address, settings))
        if weights and (weight := weights.get(address)):
            own.lb_endpoints[-1].load_balancing_weight.value = weight
    if own.lb_endpoints:
        whole.endpoints.insert(0, own)
    return bytes(whole.SerializeToString(deterministic=True))


@lru_cache(maxsize=2048)
def _without_own(pool: str, settings: EnvoySettings) -> bytes:
    return serialized(ENDPOINTS, load_assignment(pool, (), settings))


@lru_cache(maxsize=16384)
def _alone(pool: str, address: str, settings: EnvoySettings) -> bytes:
    """A `LocalityLbEndpoints` with one endpoint. Merging such messages joins their endpoints."""
    one = serialized(ENDPOINTS, load_assignment(pool, (address,), settings))
    whole = endpoint_pb2.ClusterLoadAssignment.FromString(one)
    return bytes(whole.endpoints[0].SerializeToString(deterministic=True))


def beside(older: bytes, newer: bytes) -> bytes:
    """A serialised `ClusterLoadAssignment` with the endpoints of both."""
    both = endpoint_pb2.ClusterLoadAssignment.FromString(newer)
    before = endpoint_pb2.ClusterLoadAssignment.FromString(older)
    own = [locality for locality in both.endpoints if locality.priority == 0]
    if not own:
        return newer  # nothing is meant to be left: a pool without its key, say
    known = {str(known.endpoint.address) for known in own[0].lb_endpoints}
    for locality in before.endpoints:
        if locality.priority == 0:
            own[0].lb_endpoints.extend(
                old for old in locality.lb_endpoints if str(old.endpoint.address) not in known
            )
    return bytes(both.SerializeToString(deterministic=True))


def host_and_port(address: str) -> tuple[str, int]:
    """Those of `host:port` or `[::1]:port`, which was checked when it was read."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
