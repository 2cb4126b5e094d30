"""One finished request, and how it is read from Envoy's access log entry.

This runs for every request, and each field read from a protobuf message costs up to half a
microsecond: so only what is counted is read, field by field, and nothing is converted as a whole
(`MessageToDict` costs a hundred times as much).
"""

from __future__ import annotations

from typing import Any, NamedTuple

USAGE_NAMESPACE = "usage"
"""Dynamic metadata with what the answer used: `prompt_tokens`, `completion_tokens`."""

ROUTE_HEADER = "x-mr-route"
REASON_HEADER = "x-mr-reason"
"""Response headers, which the access log repeats."""


class RequestRecord(NamedTuple):
    """What became of one request. Empty and None mean that Envoy did not say. A named tuple,
    because it is made once per request."""

    request_id: str
    route: str
    reason: str
    pool: str
    """The pool that answered, or that was tried last."""
    attempts: int
    status: int
    """0 when the client left before there was an answer."""
    duration_ms: float
    first_byte_ms: float | None
    """From the first byte of the request to the first one of the upstream's response."""
    prompt_tokens: int | None
    completion_tokens: int | None


def read_entry(entry: Any) -> RequestRecord:
    """Read an `HTTPAccessLogEntry`, whatever it lacks."""
    common, response = entry.common_properties, entry.response
    headers = response.response_headers
    usage = common.metadata.filter_metadata.get(USAGE_NAMESPACE)
    prompt = completion = None
    if usage is not None:
        fields = usage.fields
        prompt, completion = fields.get("prompt_tokens"), fields.get("completion_tokens")
    first_byte = common.time_to_first_upstream_rx_byte
    first_byte_ms = first_byte.seconds * 1e3 + first_byte.nanos * 1e-6
    # `duration` is the whole stream, from its first byte to its last.
    duration = common.duration
    return RequestRecord(
        entry.request.request_id,
        headers.get(ROUTE_HEADER, ""),
        headers.get(REASON_HEADER, ""),
        common.upstream_cluster,
        common.upstream_request_attempt_count,
        response.response_code.value,
        duration.seconds * 1e3 + duration.nanos * 1e-6,
        first_byte_ms or None,
        None if prompt is None else int(prompt.number_value),
        None if completion is None else int(completion.number_value),
    )
