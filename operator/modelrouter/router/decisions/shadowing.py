"""Shadow routes at work: they decide another route's requests, and only the figures show it.

A shadow decides right after its route, by the same facts and the same state of the pools, before
the request itself counts as in flight. What goes wrong there is counted and logged, and the request
goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog

from modelrouter.policy.compiling import CompiledRoute, Policy
from modelrouter.policy.deciding import decide_by
from modelrouter.policy.decision import Decision
from modelrouter.policy.request import RequestFacts
from modelrouter.policy.state import State

log = structlog.get_logger(__name__)


class ShadowChoice(NamedTuple):
    """Where a shadow would have sent a request."""

    shadow: str
    """Name of the shadow route."""
    pool: str
    """The pool; empty: it would have refused the request."""
    reason: str
    """As in `Decision.reason`."""
    error: str = ""
    """Code of the error that it would have answered with, such as `overloaded`."""


class Shadowing:
    """Lets shadows decide, and counts what they say."""

    def __init__(self) -> None:
        self.decisions: dict[tuple[str, str, str, str], int] = {}
        """Requests by route, shadow, the pool of the route's choice and that of the shadow's; a
        pool is empty where the one or the other refuses."""
        self.refusals: dict[tuple[str, str, str], int] = {}
        """Requests that a shadow would have refused, by route, shadow and error code."""
        self.failures: dict[tuple[str, str], int] = {}
        """Requests that a shadow could not decide, by route and shadow."""
        self.tell: Callable[[str, ShadowChoice], None] = lambda request_id, choice: None
        """Told the id of each request and what a shadow would have done with it."""
        self._logged: set[str] = set()

    def watch(
        self,
        request: RequestFacts,
        decision: Decision,
        shadows: Sequence[CompiledRoute],
        state: State,
    ) -> None:
        """Let each shadow decide a request that its route has decided so; never raises."""
        for shadow in shadows:
            try:
                self._decide(request, decision, shadow, state)
            except Exception:
                key = (decision.route, shadow.name)
                self.failures[key] = self.failures.get(key, 0) + 1
                if shadow.name not in self._logged:  # once; the metric tells how often
                    self._logged.add(shadow.name)
                    # The request's content stays out of the log: it may be confidential.
                    log.exception("a shadow could not decide a request", shadow=shadow.name)

    def forget_all_but(self, policy: Policy) -> None:
        """Drop the figures of shadows that are gone, so that they do not pile up."""
        there = {
            (route, shadow.name) for route, shadows in policy.shadows.items() for shadow in shadows
        }
        self.decisions = {k: n for k, n in self.decisions.items() if k[:2] in there}
        self.refusals = {k: n for k, n in self.refusals.items() if k[:2] in there}
        self.failures = {k: n for k, n in self.failures.items() if k in there}
        self._logged &= {shadow for _, shadow in there}

    def _decide(
        self, request: RequestFacts, decision: Decision, shadow: CompiledRoute, state: State
    ) -> None:
        would = decide_by(shadow, request, state)
        pool = would.pools[0] if would.refusal is None else ""
        key = (
            decision.route,
            shadow.name,
            decision.pools[0] if decision.refusal is None else "",
            pool,
        )
        self.decisions[key] = self.decisions.get(key, 0) + 1
        error = ""
        if would.refusal is not None:
            error = would.refusal.code or str(would.refusal.status)
            refused = (decision.route, shadow.name, error)
            self.refusals[refused] = self.refusals.get(refused, 0) + 1
        self.tell(request.request_id, ShadowChoice(shadow.name, pool, would.reason, error))
