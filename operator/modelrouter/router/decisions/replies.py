"""Decisions as HTTP responses for Envoy.

200 lets a request pass, and its headers steer what happens to it; any other status goes to the
client as it is. Which header does what is told in `router.envoy`.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from http import HTTPStatus

from modelrouter.api.pool import Feature
from modelrouter.policy.decision import Decision, Mirroring
from modelrouter.policy.refusal import Refusal
from modelrouter.policy.sharing import Shared
from modelrouter.router.envoy.holding import HOLDING_CLUSTER, HOLDING_PLAN
from modelrouter.router.envoy.mirror_headers import MIRROR_HEADER, mirror_words
from modelrouter.router.envoy.plans import Plan, routing_headers
from modelrouter.router.holding.tickets import AGAIN_HEADER, HOLD_HEADER, Service, Ticket

SHARED_MS = 50
"""How long Envoy may apply a shared decision. A changed weight takes effect that much later."""

_LETTERS: Mapping[str, str] = {Feature.TOOLS: "t", Feature.JSON_SCHEMA: "j", Feature.IMAGES: "i"}
"""Features, as Envoy's Lua names them."""
_AGENT_IS_GONE = ("connect-failure", "reset")
_MANY = 2**31
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


def plan_of(decision: Decision, triggers: tuple[str, ...]) -> Plan:
    """What Envoy has to do for a decision."""
    return Plan(
        decision.chain,
        triggers,
        decision.request_timeout_ms or 0,
        decision.per_try_timeout_ms or 0,
        decision.idle_timeout_ms or 0,
        decision.route,
        decision.reason,
        decision.mirror is not None,
    )


def passing_head(decision: Decision, triggers: tuple[str, ...], known: Container[str]) -> str:
    """The part of a passing response that all requests with an equal decision share.

    `known` are the keys of the plans in Envoy's route table.
    """
    return (
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"
        f"{routing_headers(plan_of(decision, triggers), known)}"
    )


def sharing(
    shared: Shared, triggers: tuple[str, ...], known: Container[str], *, streamed: bool
) -> str:
    """The header lines that lets Envoy place other requests alike for a moment.

    Without any when Envoy does not have all of the plans that this needs.
    """
    choices = []
    for alternative in shared.alternatives:
        mirrors = alternative.mirrors and shared.mirror is not None
        plan = plan_of(alternative.decision, triggers)._replace(mirrored=False)
        key = plan.key
        if key not in known or (mirrors and plan._replace(mirrored=True).key not in known):
            return ""
        choices.append(f"{key}:{alternative.weight}:{alternative.salt}{':1' * mirrors}")
    features = "".join(sorted(_LETTERS[feature] for feature in shared.features))
    line = (
        f"x-mr-share: {SHARED_MS}|{min(shared.most_tokens, _MANY)}|{features}|"
        f"{shared.key_header}|{','.join(shared.vary)}|{','.join(choices)}\r\n"
    )
    if shared.mirror is None:
        return line
    mirroring, percent, salt = shared.mirror
    words = _words(mirroring, shared.alternatives[0].decision.route, streamed=streamed)
    return f"{line}x-mr-share-mirror: {percent}|{salt}|{words}\r\n"


def mirroring_line(decision: Decision, *, streamed: bool, held: bool) -> str:
    """The header line that has the request copied; empty if it is not to be.

    The answer to one that has waited is not compared: the time it took is that of the pool's start.
    """
    mirroring = decision.mirror
    if mirroring is None:
        return ""
    if held:
        mirroring = Mirroring(mirroring.pool)
    return f"{MIRROR_HEADER}: {_words(mirroring, decision.route, streamed=streamed)}\r\n"


def _words(mirroring: Mirroring, route: str, *, streamed: bool) -> str:
    return mirror_words(
        mirroring.pool,
        route,
        streamed=streamed,
        compares=mirroring.compares,
        evaluates=mirroring.evaluates,
    )


def passing(head: str, hash_key: str | None, span: tuple[int, int] | None) -> bytes:
    """The response that lets a request pass along the decision's chain of pools."""
    lines = head
    if hash_key is not None:
        lines += f"x-mr-hash: {hash_key}\r\n"
    if span is not None:
        lines += f"x-mr-span: {span[0]},{span[1]}\r\n"
    return f"{lines}\r\n".encode("latin-1")


def guarding(decision: Decision) -> bytes:
    """The response that has a streamed answer watched on its way.

    The agent is the first in the chain: a request whose answer has not begun when the agent dies
    goes to the pools without it.
    """
    chain = (HOLDING_CLUSTER, *decision.chain)
    plan = Plan(chain, _AGENT_IS_GONE, route=decision.route, reason=decision.reason)
    ticket = Ticket(decision.chain[0], Service.GUARD)
    return (
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"
        f"{routing_headers(plan, ())}{HOLD_HEADER}: {ticket.text}\r\n\r\n"
    ).encode("latin-1")


def holding(decision: Decision, *, streamed: bool) -> bytes:
    """The response that lets a request wait for the pool that it wakes."""
    ticket = Ticket(decision.wakes, Service.WAIT_IN_STREAM if streamed else Service.WAIT)
    return (
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"
        f"x-mr-plan: {HOLDING_PLAN}\r\n{HOLD_HEADER}: {ticket.text}\r\n"
        f"x-mr-route: {decision.route}\r\nx-mr-reason: {decision.reason}\r\n\r\n"
    ).encode("latin-1")


def refusing(refusal: Refusal, route: str = "", *, again: bool = False) -> bytes:
    """The response that Envoy gives to the client in place of a model's answer.

    `again`: it is meant for the holding proxy, which tries again.
    """
    body = refusal.body()
    lines = (
        f"HTTP/1.1 {refusal.status} {_PHRASES.get(refusal.status, 'Error')}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
    )
    if route:
        lines += f"x-mr-route: {route}\r\n"
    if refusal.retry_after is not None:
        lines += f"retry-after: {refusal.retry_after}\r\n"
    if again:
        lines += f"{AGAIN_HEADER}: {refusal.code}\r\n"
    return f"{lines}\r\n".encode("latin-1") + body
