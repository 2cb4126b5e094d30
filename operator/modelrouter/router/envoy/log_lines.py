"""The access log: one line of text per request, and how it is read back.

Only what is counted is in it; Envoy and the agent both pay for every field of every request.
"""

from __future__ import annotations

from sys import intern

from modelrouter.router.accesslog.record import RequestRecord
from modelrouter.router.envoy.first_event import FAILED_POOLS

# Control characters other than the tab cannot be in a header, Envoy refuses them.
SEPARATOR = "\x1f"

TOKENS = "%DYNAMIC_METADATA(mr.tokens:used)%"
"""Of the prompt and of the answer, with a slash between them."""

_FIELDS = (
    "%REQ(X-REQUEST-ID)%",
    "%RESP(X-MR-ROUTE)%",
    "%RESP(X-MR-REASON)%",
    "%UPSTREAM_CLUSTER%",
    "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "%RESPONSE_CODE%",
    "%DURATION%",
    # Of a stream, to its first event: the headers are held until then.
    "%COMMON_DURATION(DS_RX_BEG:DS_TX_BEG:ms)%",
    TOKENS,
    FAILED_POOLS,
    # Why an answer ended before its time, if it did.
    "%RESPONSE_FLAGS%",
    "%RESP(CONTENT-TYPE)%",
)
LINE_FORMAT = SEPARATOR.join(_FIELDS) + "\n"
_ABSENT = "-"
AGAIN_LINE_FORMAT = LINE_FORMAT.replace("%RESP(X-MR-ROUTE)%", _ABSENT)
"""Of the second pass of a request that has waited. It is not counted by its route: the first one
has a line of its own, once the answer has reached the client."""

MIRROR_LINE_FORMAT = LINE_FORMAT.replace(
    "%RESP(X-MR-ROUTE)%", "%FILTER_STATE(mr.route:PLAIN)%"
).replace("%RESP(X-MR-REASON)%", "%FILTER_STATE(mr.mirror:PLAIN)%")
"""Of a copy of a request. What it is stands in place of a reason: `MIRRORED` or `EVALUATED`."""


def read_line(line: str) -> RequestRecord:
    """One line, without its end. Raises `ValueError` for what is no line of this log."""
    (
        request_id, route, reason, pool, attempts, status, duration, first_byte, tokens, failed,
        flags, content_type,
    ) = line.split(SEPARATOR)  # fmt: skip
    prompt, _, completion = tokens.partition("/")
    return RequestRecord(
        request_id,
        # Interned: these are kept for long with some of the requests, and looked up for all.
        "" if route == _ABSENT else intern(route),
        "" if reason == _ABSENT else intern(reason),
        "" if pool == _ABSENT else intern(pool),
        int(attempts),
        int(status),
        float(duration),
        None if first_byte == _ABSENT else float(first_byte),
        int(prompt) if prompt.isdigit() else None,
        int(completion) if completion.isdigit() else None,
        () if failed == _ABSENT else tuple(failed.split(",")),
        "" if flags == _ABSENT else flags,
        content_type.startswith("text/event-stream"),
    )
