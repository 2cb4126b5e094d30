"""The arms of a canary: which side of a split rule a request is meant for.

It is told in the decision's reason, `rule:default; canary`, because the reason is all that plans,
clients and access logs have of a decision anyway. The arm is the pool that the weights choose,
whoever answers in the end: a candidate that is down or fails must not seem to have had no requests.
"""

from __future__ import annotations

from collections.abc import Mapping

from modelrouter.api.router_config import RouteConfig

STABLE = "stable"
CANARY = "canary"
_BY_RULE = "rule:"


def split_rule(route: RouteConfig) -> int | None:
    """The place of the rule that a running canary splits; None: there is none.

    It is the first of that name: the rest of the rule, if the canary is limited to a part of its
    requests, follows under the same name.
    """
    if route.canary is None:
        return None
    names = [rule.name for rule in route.rules]
    return names.index(route.canary.rule) if route.canary.rule in names else None


def arm_reasons(route: RouteConfig, place: int) -> Mapping[str, str]:
    """By pool of an arm, the reason of a decision for it by the rule in this place. Empty: the rule
    is not split."""
    if route.canary is None or place != split_rule(route):
        return {}
    reason = plain_reason(route.rules[place].name)
    return {
        route.canary.stable: f"{reason}; {STABLE}",
        route.canary.candidate: f"{reason}; {CANARY}",
    }


def plain_reason(rule: str) -> str:
    """The reason of a decision by a rule that nothing else is to be said about."""
    return f"{_BY_RULE}{rule}"


def rule_of(reason: str) -> str:
    """The rule that made the decision of this reason; empty if none did."""
    return reason[len(_BY_RULE) :].partition(";")[0] if reason.startswith(_BY_RULE) else ""


def arm_of(reason: str) -> str:
    """The arm that the request of this reason was meant for; empty: it took part in none."""
    _, _, rest = reason.partition("; ")
    arm = rest.partition(";")[0]
    return arm if arm in (STABLE, CANARY) else ""
