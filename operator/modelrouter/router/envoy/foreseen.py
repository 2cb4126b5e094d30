"""The plans that a route can be expected to need.

Not all that it could: pools that are ruled out, full or unhealthy leave gaps in a chain, and those
requests take the slower way of `x-mr-chain`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

from modelrouter.api.router_config import PoolConfig, RouteConfig
from modelrouter.policy.arms import arm_reasons, plain_reason
from modelrouter.policy.deciding import LONGEST_CHAIN, STREAM_PER_TRY_TIMEOUT_MS
from modelrouter.router.envoy.clusters import uses_endpoint_discovery
from modelrouter.router.envoy.plans import Plan

MOST_VARIED = 3
"""Chains of more pools are foreseen only as they are with several endpoints in every pool."""


def foreseen_plans(
    name: str, route: RouteConfig, pools: Mapping[str, PoolConfig]
) -> Iterator[Plan]:
    """Plans of decisions of the route of this name, without anything out of the ordinary.

    A shadow has none: its decisions never reach Envoy.
    """
    if route.shadow_of is not None:
        return
    for place, rule in enumerate(route.rules):
        plain = plain_reason(rule.name)
        arms = arm_reasons(route, place)
        for target in rule.targets:
            if target.weight > 0:
                # An arm's plain reason is that of requests that may not go to the other arm.
                reasons = dict.fromkeys((arms.get(target.pool, plain), plain))
                others = [name for name in rule.failover if name != target.pool]
                for chain in _chains([target.pool, *others], route, pools):
                    for streamed in (False, True):
                        found = plan(chain, route, streamed=streamed)
                        for reason in reasons:
                            found = found._replace(route=name, reason=reason)
                            yield found
                            if _is_copied(route, rule.name, target.pool):
                                yield found._replace(mirrored=True)


def _is_copied(route: RouteConfig, rule: str, pool: str) -> bool:
    """Whether requests that the rule places in the pool may be copied."""
    mirror = route.mirror
    return mirror is not None and mirror.rule in (None, rule) and mirror.pool != pool


def fall_through_plans(
    route: RouteConfig, pools: Mapping[str, PoolConfig]
) -> tuple[Plan, Plan] | None:
    """What Envoy follows without the agent, for plain and for streamed answers.

    Unnamed, so that routes with the same pools share them.
    """
    if route.fallthrough.closed or not route.fallthrough.pools:
        return None
    chain = next(iter(_chains(route.fallthrough.pools, route, pools)))
    return plan(chain, route, streamed=False), plan(chain, route, streamed=True)


def plan(chain: tuple[str, ...], route: RouteConfig, *, streamed: bool) -> Plan:
    """The plan of this chain under the timeouts of the route, as decisions work them out."""
    per_try = route.retry.per_try_timeout_ms
    triggers = tuple(route.retry.triggers)
    if streamed:
        first_byte = per_try or STREAM_PER_TRY_TIMEOUT_MS
        return Plan(chain, triggers, 0, first_byte, route.idle_timeout_ms)
    total = route.request_timeout_ms
    return Plan(chain, triggers, total, per_try or max(total // len(chain), 1), 0)


def _chains(
    order: list[str], route: RouteConfig, pools: Mapping[str, PoolConfig]
) -> Iterator[tuple[str, ...]]:
    """The chains of pools in this order; a pool with one endpoint is tried once."""
    attempts = route.retry.attempts_per_pool
    if len(order) * attempts > LONGEST_CHAIN:
        attempts = max(LONGEST_CHAIN // len(order), 1)
    counts = [_counts(pools[name], attempts) for name in order[:-1]]
    if len(order) > MOST_VARIED:
        counts = [count[:1] for count in counts]
    for repeats in product(*counts, (attempts,)):
        chain = [name for name, n in zip(order, repeats, strict=True) for _ in range(n)]
        yield tuple(chain[:LONGEST_CHAIN])


def _counts(pool: PoolConfig, attempts: int) -> tuple[int, ...]:
    if attempts == 1:
        return (1,)
    if pool.addresses is not None and uses_endpoint_discovery(pool):
        return (1,) if len(pool.addresses) == 1 else (attempts,)
    return (attempts, 1)
