"""From Envoy's question to its answer: read the request, decide, count, reply."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import structlog

from modelrouter.api.route import BrokenStreams
from modelrouter.api.router_config import RouterConfig
from modelrouter.policy.compiling import Policy
from modelrouter.policy.deciding import decide
from modelrouter.policy.decision import Decision
from modelrouter.policy.refusal import Refusal, overloaded, too_many_wait
from modelrouter.policy.request import Endpoint, read_request
from modelrouter.policy.sharing import shared
from modelrouter.router.accounting.ledger import Ledger
from modelrouter.router.decisions.replies import (
    guarding,
    holding,
    mirroring_line,
    passing,
    passing_head,
    refusing,
    sharing,
)
from modelrouter.router.decisions.settling import SettledPlans
from modelrouter.router.decisions.shadowing import Shadowing
from modelrouter.router.holding.tickets import HELD_HEADER
from modelrouter.router.pacing import Pacer

log = structlog.get_logger(__name__)

_INTERNAL_ERROR = Refusal(500, "The router could not decide this request.", type="server_error")
_MAY_PASS = (overloaded().code, too_many_wait().code)
"""Refusals that a request which has waited need not take for an answer."""
_MOST_HEADS = 20_000
SHARE_HEADER = "x-mr-share"
"""Sent by Envoy with a request that a shared decision could be applied to."""


class DecisionService:
    """Answers Envoy by the policy in force."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._policy = Policy()
        self._plans = SettledPlans()
        self._triggers: dict[str, tuple[str, ...]] = {}
        self._guarded: frozenset[str] = frozenset()
        self._heads: dict[tuple[object, ...], str] = {}
        self.wake: Callable[[str], None] = lambda pool: None
        """Told the name of each cold pool that a request would have gone to."""
        self.shadowing = Shadowing()

    async def compile(self, config: RouterConfig) -> Policy:
        """The policy of a configuration, worked out in slices.

        Raises `ValueError` for a configuration that cannot be kept.
        """
        pacer = Pacer()
        policy = self._policy
        for step in self._policy.replacing(config):
            policy = step
            await pacer.breathe()
        return policy

    def use(self, policy: Policy, plans: Mapping[str, object] | None = None) -> Policy:
        """Decide by this policy from the next request on, and return the one before.

        `plans` are those that Envoy has; None: the same as before.
        """
        former, self._policy = self._policy, policy
        self.shadowing.forget_all_but(policy)
        if plans is not None:
            self._plans.replace(plans)
        self._triggers = {
            name: tuple(route.config.retry.triggers) for name, route in policy.routes.items()
        }
        self._guarded = frozenset(
            name
            for name, route in policy.routes.items()
            if route.config.broken_streams is BrokenStreams.ERROR_EVENT
        )
        self._heads = {}
        return former

    def __call__(self, path: str, headers: dict[str, str], body: bytes) -> bytes:
        """One request; never raises."""
        started = time.perf_counter()
        try:
            return self._answer(path, headers, body, started)
        except Exception:
            # The request's content stays out of the log: it may be confidential.
            log.exception("a request could not be decided", path=path)
            return refusing(_INTERNAL_ERROR)

    def _answer(self, path: str, headers: dict[str, str], body: bytes, started: float) -> bytes:
        request_id = headers.get("x-request-id", "")
        request = read_request(path, headers, body, request_id)
        if isinstance(request, Refusal):
            self._ledger.refused(request.code or str(request.status), _since(started))
            return refusing(request)
        decision = decide(request, self._policy, self._ledger.pools)
        if decision.wakes:
            self.wake(decision.wakes)
        held = HELD_HEADER in headers
        shadows = self._policy.shadows.get(decision.route)
        if shadows is not None and not held:  # held: they have seen it already
            self.shadowing.watch(request, decision, shadows, self._ledger.pools)
        if decision.refusal is not None:
            refusal = decision.refusal
            if held and refusal.code in _MAY_PASS:
                return refusing(refusal, decision.route, again=True)
            self._ledger.refused(refusal.code or str(refusal.status), _since(started))
            return refusing(refusal, decision.route)
        streamed = request.stream and request.endpoint is not Endpoint.EMBEDDINGS
        if decision.waits:
            if held:
                return refusing(too_many_wait(), decision.route, again=True)
            return holding(decision, streamed=streamed)
        if streamed and not held and decision.route in self._guarded:
            return guarding(decision)
        if started >= self._plans.changes_at:
            self._plans.note_change()
            self._heads = {}
        head = self._head(decision)
        if SHARE_HEADER in headers:
            common = shared(request, decision, self._policy, self._ledger.pools)
            if common is not None:
                triggers = self._triggers[decision.route]
                head += sharing(common, triggers, self._plans, streamed=streamed)
        if decision.mirror is not None:
            head += mirroring_line(decision, streamed=streamed, held=held)
            self._ledger.copied(request_id, decision.mirror.pool)
        reply = passing(head, decision.hash_key, request.model_span)
        self._ledger.decided(request_id, decision.chain[0], _since(started))
        return reply

    def _head(self, decision: Decision) -> str:
        key = (
            decision.route,
            decision.reason,
            decision.chain,
            decision.request_timeout_ms,
            decision.idle_timeout_ms,
            decision.mirror is None,
        )
        head = self._heads.get(key)
        if head is None:
            if len(self._heads) >= _MOST_HEADS:
                self._heads.clear()
            head = passing_head(decision, self._triggers[decision.route], self._plans)
            self._heads[key] = head
        return head


def _since(started: float) -> float:
    return time.perf_counter() - started
