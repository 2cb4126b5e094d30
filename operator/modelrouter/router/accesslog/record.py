"""One finished request, and how it is read from Envoy's access log entry.

Fields are read one by one: `MessageToDict` costs a hundred times as much, and this runs for every
request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import wrappers_pb2

DECISION_NAMESPACE = "mr"
"""Dynamic metadata with what was decided: `route`, `pool`, `reason`, `rule`, `stream`."""

USAGE_NAMESPACE = "usage"
"""Dynamic metadata with what the answer used: `prompt_tokens`, `completion_tokens`."""

PREFIX = "mr."
"""Custom tags or logged filter state, `mr.route` and so on, stand in for missing metadata."""

HEADER_PREFIX = "x-mr-"
"""Logged request or response headers, `x-mr-route` and so on, stand in for missing tags."""

METHODS = ("", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
"""`envoy.config.core.v3.RequestMethod` by number."""

FLAGS = {
    "failed_local_healthcheck": "LH",
    "no_healthy_upstream": "UH",
    "upstream_request_timeout": "UT",
    "local_reset": "LR",
    "upstream_remote_reset": "UR",
    "upstream_connection_failure": "UF",
    "upstream_connection_termination": "UC",
    "upstream_overflow": "UO",
    "no_route_found": "NR",
    "delay_injected": "DI",
    "fault_injected": "FI",
    "rate_limited": "RL",
    "unauthorized_details": "UAEX",
    "rate_limit_service_error": "RLSE",
    "downstream_connection_termination": "DC",
    "upstream_retry_limit_exceeded": "URX",
    "stream_idle_timeout": "SI",
    "invalid_envoy_request_headers": "IH",
    "downstream_protocol_error": "DPE",
    "upstream_max_stream_duration_reached": "UMSDR",
    "response_from_cache_filter": "RFCF",
    "no_filter_config_found": "NFCF",
    "duration_timeout": "DT",
    "upstream_protocol_error": "UPE",
    "no_cluster_found": "NC",
    "overload_manager": "OM",
    "dns_resolution_failure": "DF",
    "downstream_remote_reset": "DR",
}
"""The short names that people know from `%RESPONSE_FLAGS%`."""

STRING_VALUE = "type.googleapis.com/google.protobuf.StringValue"

_Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """What became of one request. Empty and None mean that Envoy did not say."""

    request_id: str
    route: str
    pool: str
    """The pool that answered, or that was tried last."""
    reason: str
    rule: str
    attempts: int
    upstream_host: str
    status: int
    """0 when the client left before there was an answer."""
    response_flags: str
    stream: bool | None
    started_at: float
    """Seconds since the epoch."""
    duration_ms: float
    first_byte_ms: float | None
    """From the first byte of the request to the first one of the upstream's response."""
    prompt_tokens: int | None
    completion_tokens: int | None
    bytes_in: int
    bytes_out: int
    method: str
    path: str


def read_entry(entry: Any) -> RequestRecord:
    """Read an `HTTPAccessLogEntry`, whatever it lacks."""
    common, request, response = entry.common_properties, entry.request, entry.response
    spaces = common.metadata.filter_metadata
    decided = spaces.get(DECISION_NAMESPACE)
    used = spaces.get(USAGE_NAMESPACE)
    values: _Values = decided.fields if decided is not None else {}
    usage: _Values = used.fields if used is not None else {}
    route = values.get("route")
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    # One test decides whether the slower sources are worth a look.
    others = _other_values(common, request, response) if route is None or prompt is None else {}
    stream = values.get("stream")
    start = common.start_time
    return RequestRecord(
        request.request_id,
        route.string_value if route is not None else others.get("route", ""),
        common.upstream_cluster or _text(values, others, "pool"),
        _text(values, others, "reason"),
        _text(values, others, "rule"),
        common.upstream_request_attempt_count,
        _host(common.upstream_remote_address),
        response.response_code.value,
        _flags(common.response_flags) if common.HasField("response_flags") else "",
        stream.bool_value or stream.string_value == "true"
        if stream is not None
        else _truth(others.get("stream")),
        start.seconds + start.nanos * 1e-9,
        _duration(common),
        _milliseconds(common.time_to_first_upstream_rx_byte)
        if common.HasField("time_to_first_upstream_rx_byte")
        else None,
        _count(prompt) if prompt is not None else _number(others.get("prompt_tokens")),
        _count(completion) if completion is not None else _number(others.get("completion_tokens")),
        request.request_body_bytes,
        response.response_body_bytes,
        METHODS[request.request_method] if request.request_method < len(METHODS) else "",
        request.path,
    )


def _other_values(common: Any, request: Any, response: Any) -> dict[str, str]:
    """Custom tags, filter state and logged headers, by the name of the field."""
    found: dict[str, str] = {}
    for headers in (response.response_headers, request.request_headers):
        for name, value in headers.items():
            if name.startswith(HEADER_PREFIX):
                found[name[len(HEADER_PREFIX) :].replace("-", "_")] = value
    for name, state in common.filter_state_objects.items():
        if name.startswith(PREFIX) and state.type_url == STRING_VALUE:
            found[name[len(PREFIX) :]] = wrappers_pb2.StringValue.FromString(state.value).value
    for name, value in common.custom_tags.items():
        # A tag whose source is missing has Envoy's mark for "nothing".
        if name.startswith(PREFIX) and value != "-":
            found[name[len(PREFIX) :]] = value
    return found


def _text(values: _Values, others: Mapping[str, str], name: str) -> str:
    value = values.get(name)
    if value is None:
        return others.get(name, "")
    text: str = value.string_value
    return text


def _count(value: Any) -> int | None:
    """A number in metadata, where a filter may have put it as text."""
    number: float = value.number_value
    return int(number) if number else _number(value.string_value or "0")


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _truth(text: str | None) -> bool | None:
    return None if text is None else text == "true"


def _host(address: Any) -> str:
    socket = address.socket_address
    if host := socket.address:
        return f"[{host}]:{socket.port_value}" if ":" in host else f"{host}:{socket.port_value}"
    path: str = address.pipe.path
    return path


def _flags(flags: Any) -> str:
    return ",".join(FLAGS.get(field.name, field.name) for field, _ in flags.ListFields())


def _duration(common: Any) -> float:
    # `duration` is the whole stream; without it, the last byte sent is the end that is known.
    if common.HasField("duration"):
        return _milliseconds(common.duration)
    return _milliseconds(common.time_to_last_downstream_tx_byte)


def _milliseconds(duration: Any) -> float:
    milliseconds: float = duration.seconds * 1e3 + duration.nanos * 1e-6
    return milliseconds
