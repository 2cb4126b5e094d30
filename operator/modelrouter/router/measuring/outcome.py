"""What a finished request says about the pool that it was meant for."""

from __future__ import annotations

from modelrouter.plan.canary.measurement import FailureClass
from modelrouter.router.accesslog.record import RequestRecord

# https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/observability/access_log/usage
# #response-flags
CLIENT_GONE = frozenset({"DC", "DPE", "DR"})
"""The client ended it: disconnected, no HTTP, reset."""
BROKEN = frozenset({"UC", "UR", "UT", "UPE", "SI", "LR", "UF", "OM"})
"""The answer ended before its time: connection gone, reset, timeout, no HTTP, silence."""
_POOL_AT_FAULT = frozenset({401, 403, 404})
"""The router has seen to the request's key and model; these tell of the pool's."""


def counts(record: RequestRecord) -> bool:
    """Whether it says anything. A client that leaves says neither good nor bad of the answer."""
    if record.status == 0:
        return False
    return not record.flags or CLIENT_GONE.isdisjoint(record.flags.split(","))


def failure_of(record: RequestRecord, pool: str) -> FailureClass | None:
    """How the pool failed the request; None: it served it at the first attempt, and whole."""
    status = record.status
    if status >= 500 or status in _POOL_AT_FAULT:
        return "serverError"
    if status == 429:
        return "rateLimited"
    if record.attempts > 1 or record.pool != pool:
        return "rescued"
    if record.flags and not BROKEN.isdisjoint(record.flags.split(",")):
        return "brokenStream"
    return None
