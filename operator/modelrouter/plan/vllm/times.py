"""How long a server may take to start and to end, in whole seconds."""

from __future__ import annotations

from modelrouter.api.quantities import milliseconds
from modelrouter.api.vllm import Vllm

LEAVING_SECONDS = 5
"""How long a server that goes still takes requests: until every router has let go of it."""
_ENDING_SECONDS = 20
"""What vLLM takes to end after its last request."""


def startup_seconds(vllm: Vllm) -> int:
    """Time to load the model."""
    return _seconds(vllm.startup_timeout)


def drain_seconds(vllm: Vllm) -> int:
    """Time that running requests have to end."""
    return _seconds(vllm.drain_timeout)


def grace_seconds(vllm: Vllm) -> int:
    """Time from the moment that a pod must go until it is killed."""
    return LEAVING_SECONDS + drain_seconds(vllm) + _ENDING_SECONDS


def _seconds(duration: str) -> int:
    return -(-milliseconds(duration) // 1000)
