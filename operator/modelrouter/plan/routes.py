"""ModelRoute → the route as the router needs it, with its references resolved."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from modelrouter.api.failover import NO_FAILOVER
from modelrouter.api.quantities import milliseconds
from modelrouter.api.route import ModelRouteSpec, Rule, RuleMatch
from modelrouter.api.router_config import (
    Conditions,
    Fallthrough,
    HeaderCondition,
    RetryConfig,
    RouteConfig,
    RuleConfig,
    StickyConfig,
    WeightedPool,
)

IMPLICIT_RULE = "pools"
"""Name of the rule added at the end of every route: its pools in their order."""


def plan_route(
    spec: ModelRouteSpec, known_pools: Collection[str], models: Sequence[str]
) -> RouteConfig | None:
    """The router's view of a route, or None where no pool of it exists.

    Pools that do not exist are left out, so that the rest of the route goes on being served.
    `models` are the virtual models that this route has won.
    """
    pools = [name for name in spec.pools if name in known_pools]
    if not pools:
        return None
    rules = [_plan_rule(rule, spec, pools) for rule in spec.rules]
    if not spec.rules or not spec.rules[-1].match.is_empty:
        rules.append(
            RuleConfig(
                name=IMPLICIT_RULE,
                targets=[WeightedPool(pool=pools[0], weight=1)],
                failover=_failover(None, spec, pools),
                min_healthy_percent=spec.min_healthy_percent,
            )
        )
    return RouteConfig(
        models=list(models),
        pools=pools,
        rules=rules,
        retry=RetryConfig(
            attempts_per_pool=spec.retry.attempts,
            triggers=spec.retry.triggers,
            per_try_timeout_ms=milliseconds(spec.retry.per_try_timeout)
            if spec.retry.per_try_timeout
            else None,
        ),
        request_timeout_ms=milliseconds(spec.timeout.request),
        idle_timeout_ms=milliseconds(spec.timeout.idle),
        sticky=StickyConfig(by=spec.sticky.by, header=spec.sticky.header) if spec.sticky else None,
        broken_streams=spec.broken_streams,
        fallthrough=plan_fallthrough(spec, rules),
    )


def plan_fallthrough(spec: ModelRouteSpec, rules: Sequence[RuleConfig]) -> Fallthrough:
    """What Envoy may do alone: the first rule without conditions, heaviest target first.

    Envoy alone cannot evaluate rules. A conditional rule that may never be left (`failover:
    [None]`) would then be broken without anybody noticing, so such a route closes instead.
    Requests labelled with a data class are refused by Envoy itself and need no closed route.
    """
    open_rule = next(rule for rule in rules if rule.conditions == Conditions())
    targets = sorted(open_rule.targets, key=lambda target: -target.weight)
    order = [target.pool for target in targets if target.weight > 0]
    order += [name for name in open_rule.failover if name not in order]
    if not open_rule.failover:
        order = order[:1]
    closed = any(
        (rule.failover or spec.failover) == [NO_FAILOVER]
        and not rule.match.is_empty
        and not rule.match.data_classes
        for rule in spec.rules
    )
    return Fallthrough(pools=order, closed=closed or not order)


def _plan_rule(rule: Rule, spec: ModelRouteSpec, pools: Sequence[str]) -> RuleConfig:
    return RuleConfig(
        name=rule.name,
        conditions=_plan_conditions(rule.match),
        targets=[
            WeightedPool(pool=target.pool, weight=target.weight)
            for target in rule.targets
            if target.pool in pools
        ],
        failover=_failover(rule, spec, pools),
        min_healthy_percent=spec.min_healthy_percent
        if rule.min_healthy_percent is None
        else rule.min_healthy_percent,
    )


def _failover(rule: Rule | None, spec: ModelRouteSpec, pools: Sequence[str]) -> list[str]:
    chosen = rule.failover if rule is not None and rule.failover is not None else spec.failover
    if chosen == [NO_FAILOVER]:
        return []
    return [name for name in (spec.pools if chosen is None else chosen) if name in pools]


def _plan_conditions(match: RuleMatch) -> Conditions:
    return Conditions(
        headers=[
            HeaderCondition(
                name=header.name, exact=header.exact, prefix=header.prefix, regex=header.regex
            )
            for header in match.headers
        ],
        models=match.models,
        min_prompt_tokens=match.prompt_tokens.min if match.prompt_tokens else None,
        max_prompt_tokens=match.prompt_tokens.max if match.prompt_tokens else None,
        features=match.features,
        data_classes=match.data_classes,
    )
