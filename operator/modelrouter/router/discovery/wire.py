"""The delta discovery protocol's messages, as plain values.

The generated protobuf modules have no type hints; they are named here and nowhere else in this
package.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

# xds-protos ships neither stubs nor a py.typed marker.
from envoy.service.discovery.v3 import discovery_pb2  # type: ignore[import-untyped]

from modelrouter.router.discovery.resources import Push

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
METHOD = "DeltaAggregatedResources"


@dataclass(frozen=True, slots=True)
class Request:
    """What Envoy says: a subscription, an ACK or a NACK (or a subscription with an ACK)."""

    kind: str
    nonce: str = ""
    error: str | None = None
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial_versions: Mapping[str, str] = field(default_factory=dict)


_DUMP = re.compile(r"goo\.gle/debug\w+\s.*?\n: ", re.DOTALL)
"""The text form of a refused message, which Envoy puts before its reason."""

MOST_REASON = 1000


def reason_of(message: str) -> str:
    """Envoy's reason without the refused resource, which is long and may hold a credential."""
    return _DUMP.sub("", message)[:MOST_REASON]


def decode_request(data: bytes) -> Request:
    """Read one `DeltaDiscoveryRequest`."""
    message = discovery_pb2.DeltaDiscoveryRequest.FromString(data)
    return Request(
        kind=message.type_url,
        nonce=message.response_nonce,
        error=reason_of(message.error_detail.message) if message.HasField("error_detail") else None,
        subscribe=tuple(message.resource_names_subscribe),
        unsubscribe=tuple(message.resource_names_unsubscribe),
        initial_versions=dict(message.initial_resource_versions),
    )


def encode_response(push: Push, nonce: str, version: str) -> bytes:
    """Write one `DeltaDiscoveryResponse`."""
    message = discovery_pb2.DeltaDiscoveryResponse(
        type_url=push.kind,
        nonce=nonce,
        system_version_info=version,
        removed_resources=push.removed,
    )
    add = message.resources.add
    for name, resource in push.resources.items():
        entry = add(name=name, version=resource.version)
        entry.resource.type_url = push.kind
        entry.resource.value = resource.body
    encoded: bytes = message.SerializeToString()
    return encoded
