"""The access log as lines of text, a third of the work for the agent that gRPC entries are."""

from __future__ import annotations

from modelrouter.router.accesslog.record import RequestRecord
from modelrouter.router.envoy.endpoints import METADATA

# Control characters other than the tab cannot be in a header or path, Envoy refuses them.
SEPARATOR = "\x1f"

_FIELDS = (
    "%REQ(X-REQUEST-ID)%",
    "%RESP(X-MR-ROUTE)%",
    "%UPSTREAM_CLUSTER%",
    "%RESP(X-MR-REASON)%",
    "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "%UPSTREAM_HOST%",
    "%RESPONSE_CODE%",
    "%RESPONSE_FLAGS%",
    f"%METADATA(ROUTE:{METADATA}:stream)%",
    "%START_TIME(%s.%6f)%",
    "%DURATION%",
    "%RESPONSE_DURATION%",
    "%DYNAMIC_METADATA(usage:prompt_tokens)%",
    "%DYNAMIC_METADATA(usage:completion_tokens)%",
    "%BYTES_RECEIVED%",
    "%BYTES_SENT%",
    "%REQ(:METHOD)%",
    "%REQ(:PATH)%",
)
LINE_FORMAT = SEPARATOR.join(_FIELDS) + "\n"


def read_line(line: str) -> RequestRecord:
    """One line, without its end. Raises ValueError for what is no line of this log."""
    (
        request_id, route, pool, reason, attempts, host, status, flags, stream, started,
        duration, first_byte, prompt, completion, bytes_in, bytes_out, method, path,
    ) = line.split(SEPARATOR)  # fmt: skip
    return RequestRecord(
        request_id=_text(request_id),
        route=_text(route),
        pool=_text(pool),
        reason=_text(reason),
        rule="",
        attempts=int(attempts),
        upstream_host=_text(host),
        status=int(status),
        response_flags=_text(flags),
        stream=None if stream == "-" else stream == "true",
        started_at=float(started),
        duration_ms=float(duration),
        first_byte_ms=None if first_byte == "-" else float(first_byte),
        prompt_tokens=_count(prompt),
        completion_tokens=_count(completion),
        bytes_in=int(bytes_in),
        bytes_out=int(bytes_out),
        method=_text(method),
        path=_text(path),
    )


def _text(value: str) -> str:
    return "" if value == "-" else value


def _count(value: str) -> int | None:
    return None if value == "-" else int(float(value))
