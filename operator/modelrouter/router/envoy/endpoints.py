"""Endpoints of pools, for EDS."""

from __future__ import annotations

from collections.abc import Iterable

# xds-protos ships neither stubs nor a py.typed marker.
from envoy.config.endpoint.v3 import endpoint_pb2  # type: ignore[import-untyped]

from modelrouter.router.envoy.messages import Resource, socket_address
from modelrouter.router.envoy.settings import EnvoySettings
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
            "hostname": hostname or authority(host, port),
        },
        "metadata": {"filter_metadata": {METADATA: {"pool": pool}}},
    }


def load_assignment(pool: str, addresses: Iterable[str], settings: EnvoySettings) -> Resource:
    """`ClusterLoadAssignment` of a pool with these `ip:port` addresses, none included."""
    endpoints = [endpoint(pool, *split_address(address)) for address in addresses]
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


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[::1]:port`."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def authority(host: str, port: int) -> str:
    """What goes into the `host` header."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
