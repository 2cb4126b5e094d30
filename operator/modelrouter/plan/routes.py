"""ModelRoute → the route as the router needs it, with its references resolved."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from modelrouter.api.failover import NO_FAILOVER
from modelrouter.api.quantities import milliseconds
from modelrouter.api.route import ModelRouteSpec
from modelrouter.api.router_config import (
    Conditions,
    Fallthrough,
    HeaderCondition,
    MirrorConfig,
    RetryConfig,
    RouteConfig,
    RuleConfig,
    StickyConfig,
    WeightedPool,
)
from modelrouter.api.rule import IMPLICIT_RULE, Rule, RuleMatch
from modelrouter.plan.canary.traffic import Split, segment, shifted


def plan_route(
    spec: ModelRouteSpec,
    known_pools: Collection[str],
    models: Sequence[str],
    split: Split | None = None,
) -> RouteConfig | None:
    """The router's view of a route, or None where no pool of it exists.

    Pools that do not exist are left out, so that the rest of the route goes on being served.
    `models` are the virtual models that this route has won, `split` is what its canary does now.
    """
    pools = [name for name in spec.pools if name in known_pools]
    if not pools:
        return None
    unsplit = _plan_rules(spec, pools)
    rules = unsplit if split is None else _split_rules(unsplit, spec, pools, split)
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
        fallthrough=Fallthrough(pools=[], closed=True)
        if spec.shadow_of is not None
        # While a candidate is on trial, what is decided without the agent is safe with the others.
        else plan_fallthrough(spec, unsplit if split is not None and split.running else rules),
        canary=split.config if split is not None else None,
        mirror=_plan_mirror(spec, pools),
        shadow_of=spec.shadow_of,
    )


def _plan_rules(spec: ModelRouteSpec, pools: Sequence[str]) -> list[RuleConfig]:
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
    return rules


def _split_rules(
    rules: Sequence[RuleConfig], spec: ModelRouteSpec, pools: Sequence[str], split: Split
) -> list[RuleConfig]:
    """The rules with the canary's, the first of its name, split."""
    canary = split.canary
    place = [rule.name for rule in rules].index(canary.rule_name)
    given = [(spec.pools[0], 1)]
    if place < len(spec.rules):
        given = [(target.pool, target.weight) for target in spec.rules[place].targets]
    targets = shifted(given, split, pools) or rules[place].targets
    if canary.match.is_empty:
        changed = [rules[place].model_copy(update={"targets": targets})]
    else:
        match = _plan_conditions(canary.match)
        changed = [segment(rules[place], match, targets), rules[place]]
    return [*rules[:place], *changed, *rules[place + 1 :]]


def _plan_mirror(spec: ModelRouteSpec, pools: Sequence[str]) -> MirrorConfig | None:
    """Where copies go; None, too, while the pool for them does not exist."""
    mirror = spec.mirror
    if mirror is None or mirror.pool not in pools or spec.shadow_of is not None:
        return None
    return MirrorConfig(
        pool=mirror.pool,
        rule=mirror.rule,
        percent=mirror.percent,
        compare=mirror.compare,
        evaluator=mirror.evaluator if mirror.evaluator in pools else None,
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
