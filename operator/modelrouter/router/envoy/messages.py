"""Building blocks of Envoy's messages in their JSON form."""

from __future__ import annotations

from typing import Any

Resource = dict[str, Any]
"""A protobuf message in its JSON form."""

TYPE_PREFIX = "type.googleapis.com/"
EXTENSIONS = "envoy.extensions."
ADS: Resource = {"ads": {}, "resource_api_version": "V3"}
"""A `ConfigSource`: whatever the agent sends."""
FILTER_LEFT_OUT: Resource = {
    "@type": TYPE_PREFIX + "envoy.config.route.v3.FilterConfig",
    "disabled": True,
}
"""In `typed_per_filter_config`: requests of this route do not get the filters of that name at all,
also at the pool. A filter that is only told to do nothing still sees every event."""


def message(type_name: str, **fields: Any) -> Resource:
    """A message in its JSON form inside an Any."""
    return {"@type": TYPE_PREFIX + type_name, **fields}


def extension(name: str, type_name: str, **fields: Any) -> Resource:
    """A `TypedExtensionConfig`, also the shape of filters."""
    return {"name": name, "typed_config": message(EXTENSIONS + type_name, **fields)}


def duration(milliseconds: int) -> str:
    """A `google.protobuf.Duration`."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds}.{rest:03}s" if rest else f"{seconds}s"


def pipe(path: str, mode: int = 0o660) -> Resource:
    """The address of a Unix socket. `mode` counts where Envoy makes it: agent and Envoy may run as
    two users of one group."""
    return {"pipe": {"path": path, "mode": mode}}


def socket_address(host: str, port: int) -> Resource:
    """A TCP address."""
    return {"socket_address": {"address": host, "port_value": port}}


def request_header(name: str) -> Resource:
    """What a matcher looks at: a request header."""
    return {
        "name": name,
        "typed_config": message(
            "envoy.type.matcher.v3.HttpRequestHeaderMatchInput", header_name=name
        ),
    }


def add_header(name: str, value: str, *, override: bool = True) -> Resource:
    """Set a header, by default whatever was there before; left out when the value is empty."""
    return {
        "header": {"key": name, "value": value},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD" if override else "ADD_IF_ABSENT",
    }


def http_options(**fields: Any) -> Resource:
    """`typed_extension_protocol_options` of a cluster."""
    name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {name: message(name, **fields)}
