"""Failures on command: which of the next requests go wrong, and how."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

from modelrouter.standalone.simulator.settings import SimulatorSettings

MODES: Final = (
    "ok",
    "hang",
    "reset",
    "reset_mid_headers",
    "stream_error",
    "cut_stream",
    "stall_stream",
    "engine_death",
    "slow",
)
"""ok: no fault but `fail_status`. hang: accept, never answer. reset: TCP reset instead of an
answer. reset_mid_headers: TCP reset after half of the answer's headers. stream_error: status 200,
then an error event (500 if not streamed). cut_stream: close in the middle of the answer.
stall_stream: stop in the middle and keep the connection open. engine_death: as stream_error, to
every request in the engine; `/health` is 503 from then on, and the process ends soon after. slow:
ten times the latency."""

_SLOWDOWN = 10.0


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """How requests go wrong from now on. With no field given, as the server was started."""

    mode: str = "ok"
    fail_status: int = 500
    """HTTP status of a failed request while `mode` is ok."""

    fail_rate: float = 0.0
    """Share of requests, 0 to 1, that meet the fault: the mode, or else `fail_status`."""

    retry_after: float | None = None
    """Seconds in the `Retry-After` header of a failed request; none: no header."""

    first_token_ms: float | None = None
    """Milliseconds to the first token; none: the server's own."""

    per_token_ms: float | None = None
    """Milliseconds between tokens; none: the server's own."""

    after_tokens: int | None = None
    """Tokens of a stream that come before cut_stream and stall_stream (none: half of the answer),
    stream_error and engine_death (none: no token)."""

    health_status: int = 200
    """HTTP status of `/health` and `/ping`."""

    count: int | None = None
    """Requests that this plan is for; after them the server is as it was started."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """What one request meets."""

    mode: str
    """One of MODES, or "fail" for an answer with `fail_status`."""

    first_token_s: float
    per_token_s: float
    plan: FaultPlan

    def cut_after(self, tokens: int) -> int | None:
        """Tokens of an answer of this length that are sent; none if it is sent whole."""
        given = self.plan.after_tokens
        if self.mode in ("cut_stream", "stall_stream"):
            return min(tokens, tokens // 2 if given is None else given)
        if self.mode in ("stream_error", "engine_death"):
            return min(tokens, given or 0)
        return None


class Faults:
    """The plan in force, and the dice: the same seed gives the same sequence of failures."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._initial = FaultPlan(fail_rate=settings.fail_rate, fail_status=settings.fail_status)
        self._dice = random.Random(settings.seed)
        self.plan = self._initial
        self.remaining: int | None = None
        """Requests that the plan is still for; none: no end."""
        if settings.faults:
            self.set(dict(settings.faults))

    def set(self, given: dict[str, Any]) -> None:
        """Put a new plan in force. Fields that are left out are as the server was started.

        Raises ValueError, saying which field is wrong and what would be right.
        """
        self.plan = parse_plan(given, self._initial)
        self.remaining = self.plan.count

    def state(self) -> dict[str, Any]:
        """The plan in force, as `/_simulate` shows it."""
        return {**asdict(self.plan), "count": self.remaining}

    def next(self) -> Treatment:
        """What the request that has just arrived meets."""
        plan = self.plan
        if self.remaining is not None:
            if self.remaining <= 0:
                plan = self.plan = self._initial
                self.remaining = None
            else:
                self.remaining -= 1
        mode = "ok"
        rate = plan.fail_rate
        if rate > 0 and (rate >= 1 or self._dice.random() < rate):
            mode = "fail" if plan.mode == "ok" else plan.mode
        settings = self._settings
        slowdown = _SLOWDOWN if mode == "slow" else 1.0
        first, step = plan.first_token_ms, plan.per_token_ms
        return Treatment(
            mode,
            (settings.first_token_ms * slowdown if first is None else first) / 1000,
            (settings.per_token_ms * slowdown if step is None else step) / 1000,
            plan,
        )


def parse_plan(given: dict[str, Any], initial: FaultPlan) -> FaultPlan:
    """The plan that these fields describe; a fault that is named without a rate is certain."""
    known = {field.name for field in fields(FaultPlan)}
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"{name}: unknown; known are {', '.join(sorted(known))}")
        if name == "mode":
            if value not in MODES:
                raise ValueError(f"mode: {value!r} is none of {', '.join(MODES)}")
        elif value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"{name}: {value!r} is not a number")
    for name in ("fail_status", "health_status"):
        if not 200 <= given.get(name, 200) <= 599:
            raise ValueError(f"{name}: {given[name]!r} is not an HTTP status from 200 to 599")
    changes = dict(given)
    if "fail_rate" not in given and (given.get("mode", "ok") != "ok" or "fail_status" in given):
        changes["fail_rate"] = 1.0
    return replace(initial, **changes)
