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

from modelrouter.router import wire_format
from modelrouter.router.discovery.resources import Push

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
METHOD = "DeltaAggregatedResources"

# Field numbers of the messages that are put together here.
_RESPONSE_RESOURCES = 2
_RESOURCE_VERSION, _RESOURCE_ANY, _RESOURCE_NAME = 1, 2, 3
_ANY_TYPE, _ANY_VALUE = 1, 2


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
    """Write one `DeltaDiscoveryResponse`.

    Resources are put in as they are: a route table of megabytes, copied from message to message,
    would keep the event loop for 10 ms.
    """
    head = discovery_pb2.DeltaDiscoveryResponse(
        type_url=push.kind,
        nonce=nonce,
        system_version_info=version,
        removed_resources=push.removed,
    )
    parts: list[bytes] = [head.SerializeToString()]
    kind = wire_format.field(_ANY_TYPE, push.kind.encode())
    for name, resource in push.resources.items():
        named = wire_format.field(_RESOURCE_NAME, name.encode())
        named += wire_format.field(_RESOURCE_VERSION, resource.version.encode())
        any_head = kind + wire_format.opening(_ANY_VALUE, len(resource.body))
        any_opening = wire_format.opening(_RESOURCE_ANY, len(any_head) + len(resource.body))
        length = len(named) + len(any_opening) + len(any_head) + len(resource.body)
        parts += (
            wire_format.opening(_RESPONSE_RESOURCES, length),
            named,
            any_opening,
            any_head,
            resource.body,
        )
    return b"".join(parts)
