"""What clients get when Envoy itself has to answer: errors as OpenAI writes them.

https://platform.openai.com/docs/guides/error-codes; the clients of that API read `error.message`,
`error.type`, `error.param` and `error.code`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from modelrouter.router.envoy.feedback import FEEDBACK_PATH
from modelrouter.router.envoy.messages import Resource, add_header


def error(message: str, kind: str, param: str | None = None, code: str | None = None) -> Resource:
    """An error answer."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_body(message: str, kind: str, param: str | None = None, code: str | None = None) -> str:
    """The body of an error answer."""
    return json.dumps(error(message, kind, param, code), separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class LocalReply:
    """What to say for a status, or for the response flags that tell apart equal statuses."""

    message: str
    code: str
    kind: str = "server_error"
    status: int | None = None
    flags: tuple[str, ...] = ()
    retry_after: bool = False
    path: str = ""
    """Only for this path."""
    becomes: int | None = None
    """The status to answer instead."""


# The first match counts. Flags: https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/
# observability/access_log/usage#response-flags
REPLIES = (
    LocalReply(
        "Feedback cannot be taken at the moment. Try again.",
        "feedback_unavailable",
        flags=("UF", "UC", "UR", "LR", "URX", "UO", "UT", "UPE", "SI"),
        retry_after=True,
        path=FEEDBACK_PATH,
        becomes=503,
    ),
    LocalReply(
        "The model took too long to answer.",
        "timeout",
        flags=("UT", "UPE", "SI", "DPE", "DT"),
        status=504,
    ),
    LocalReply("The model took too long to answer.", "timeout", status=504),
    LocalReply(
        "The request took too long to arrive.",
        "request_timeout",
        kind="invalid_request_error",
        status=408,
    ),
    LocalReply(
        "The endpoint that served this request broke off or could not be reached. Try again.",
        "upstream_unreachable",
        flags=("UF", "UC", "UR", "LR", "URX"),
        status=503,
        retry_after=True,
    ),
    LocalReply(
        "No endpoint can serve this model at the moment. Try again.",
        "no_healthy_endpoint",
        status=503,
        retry_after=True,
    ),
    LocalReply("The endpoint gave an answer that is no HTTP.", "bad_gateway", status=502),
    LocalReply(
        "The request body is too large.",
        "request_too_large",
        kind="invalid_request_error",
        status=413,
    ),
    LocalReply(
        "The request headers are too large.",
        "headers_too_large",
        kind="invalid_request_error",
        status=431,
    ),
    LocalReply(
        "Too many requests. Try again.",
        "rate_limit_exceeded",
        kind="rate_limit_error",
        status=429,
        retry_after=True,
    ),
    LocalReply(
        "The request is no valid HTTP.", "bad_request", kind="invalid_request_error", status=400
    ),
    # Answers of the route table pass through here too; they carry no flags.
    LocalReply(
        "There is nothing here.",
        "not_found",
        kind="invalid_request_error",
        status=404,
        flags=("NR",),
    ),
    LocalReply("The router has no key for this model's provider.", "no_credential", status=401),
)
ANSWERED = "x-mr-answered"
"""Request header with which the listener's Lua marks what it has answered itself."""
ROUTED_400 = 498
"""A 400 of the route table; the status tells it from Envoy's own."""
ANYTHING_ELSE = LocalReply("The router failed to serve this request.", "internal_error")


def _status(comparison: str, status: int) -> Resource:
    value = {"default_value": status, "runtime_key": "modelrouter.no_such_key"}
    return {"status_code_filter": {"comparison": {"op": comparison, "value": value}}}


def _mapper(reply: LocalReply) -> Resource:
    tests = []
    if reply.status is not None:
        tests.append(_status("EQ", reply.status))
    if reply.flags:
        tests.append({"response_flag_filter": {"flags": list(reply.flags)}})
    if reply.path:
        header = {"name": ":path", "string_match": {"exact": reply.path}}
        tests.append({"header_filter": {"header": header}})
    mapper: Resource = {
        "filter": {"and_filter": {"filters": tests}} if len(tests) > 1 else (tests or [{}])[0],
        "body": {"inline_string": error_body(reply.message, reply.kind, code=reply.code)},
    }
    if reply.becomes is not None:
        mapper["status_code"] = reply.becomes
    if reply.retry_after:
        mapper["headers_to_add"] = [add_header("retry-after", "1")]
    return mapper


def local_reply_config() -> Resource:
    """`local_reply_config` of the HTTP connection manager."""
    own = {"filter": {"header_filter": {"header": {"name": ANSWERED, "present_match": True}}}}
    routed = {"filter": _status("EQ", ROUTED_400), "status_code": 400}
    rest = {**_mapper(ANYTHING_ELSE), "filter": _status("GE", 406)}
    return {
        "mappers": [own, routed, *(_mapper(reply) for reply in REPLIES), rest],
        # The body that the mapper chose, as it is.
        "body_format": {
            "text_format_source": {"inline_string": "%LOCAL_REPLY_BODY%"},
            "content_type": "application/json",
        },
    }
