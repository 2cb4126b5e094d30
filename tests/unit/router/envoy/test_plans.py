"""Plans, and that those that are foreseen are those that decisions ask for."""

from __future__ import annotations

from modelrouter.api.router_config import PoolConfig, RouteConfig
from modelrouter.router.envoy import first_event, routes, table
from modelrouter.router.envoy.attempts import CLIENT_CREDENTIALS, LUA_FILTER, upstream_filters
from modelrouter.router.envoy.foreseen import fall_through_plans, foreseen_plans
from modelrouter.router.envoy.plans import Plan, retry_on, routing_headers, status_codes
from modelrouter.router.envoy.typed import serialized

EJECTION = {"consecutive_errors": 5, "base_ejection_time_ms": 1000, "max_ejection_percent": 50}
MANY = PoolConfig.model_validate({"model": "x", "ejection": EJECTION})
ONE = PoolConfig.model_validate({"model": "x", "addresses": ["10.0.0.1:80"], "ejection": EJECTION})


def route(attempts: int, failover: list[str], closed: bool = False) -> RouteConfig:
    return RouteConfig.model_validate(
        {
            "models": ["m"],
            "pools": ["a", "b"],
            "rules": [{"name": "r", "targets": [{"pool": "a", "weight": 1}], "failover": failover}],
            "retry": {"attempts_per_pool": attempts, "triggers": ["5xx", "429"]},
            "request_timeout_ms": 60_000,
            "idle_timeout_ms": 5_000,
            "fallthrough": {"pools": ["a", "b"], "closed": closed},
        }
    )


def chains(wanted: RouteConfig, **pools: PoolConfig) -> set[tuple[str, ...]]:
    return {plan.chain for plan in foreseen_plans("n", wanted, pools)}


def test_a_pool_with_one_endpoint_is_tried_once() -> None:
    assert chains(route(2, ["b"]), a=ONE, b=ONE) == {("a", "b", "b")}
    assert chains(route(2, ["b"]), a=MANY, b=MANY) == {("a", "a", "b", "b"), ("a", "b", "b")}
    assert chains(route(1, ["b"]), a=MANY, b=MANY) == {("a", "b")}
    assert chains(route(2, []), a=MANY, b=MANY) == {("a", "a")}


def test_streams_have_a_plan_of_their_own() -> None:
    plain, streamed = foreseen_plans("n", route(1, ["b"]), {"a": MANY, "b": MANY})
    assert (plain.timeout_ms, plain.per_try_timeout_ms, plain.idle_ms) == (60_000, 30_000, 0)
    assert (streamed.timeout_ms, streamed.per_try_timeout_ms) == (0, 60_000)
    assert streamed.idle_ms == 5_000
    assert (plain.route, plain.reason) == ("n", "rule:r")


def test_a_closed_route_has_no_way_of_its_own() -> None:
    assert fall_through_plans(route(1, ["b"], closed=True), {"a": MANY, "b": MANY}) is None


def test_retry_on() -> None:
    triggers = ("connect-failure", "reset", "5xx", "429")
    assert retry_on(triggers) == (
        "retriable-headers,connect-failure,refused-stream,reset,5xx,retriable-status-codes"
    )
    assert status_codes(triggers) == (429,)


def test_the_shortest_headers_that_do() -> None:
    plan = Plan(("a", "b"), ("5xx", "429"), 1000, 500, 0, "r", "rule:x")
    why = "x-mr-route: r\r\nx-mr-reason: rule:x\r\n"
    assert routing_headers(plan, {plan.key}) == f"x-mr-plan: {plan.key}\r\n"
    unnamed = plan.unnamed.key
    assert routing_headers(plan, {unnamed}) == f"x-mr-plan: {unnamed}\r\n{why}"
    assert routing_headers(plan, ()) == (
        f"{why}x-mr-chain: a,b\r\n"
        "x-envoy-max-retries: 1\r\n"
        "x-envoy-retry-on: retriable-headers,5xx,retriable-status-codes\r\n"
        "x-envoy-upstream-rq-timeout-ms: 1000\r\n"
        "x-envoy-upstream-rq-per-try-timeout-ms: 500\r\n"
        "x-envoy-retriable-status-codes: 429\r\n"
    )


def test_entries_put_together_are_what_is_rendered() -> None:
    # Fields come in another order and mean the same; so the lengths are equal.
    for plan in (
        Plan(("a", "b"), ("5xx", "429"), 1000, 500, 0, "r", "rule:x"),
        Plan(("a", "b"), ("reset",), 0, 500, 9000),
    ):
        unnamed = serialized(routes.ROUTE, routes.unnamed_route(plan.unnamed, MANY))
        whole = serialized(routes.ROUTE, routes.plan_route(plan, MANY))
        together = table.plan_entry(plan, unnamed)
        assert len(together) == len(table.route_entry(plan.key, whole))


def left_out(plan: Plan, first: PoolConfig = ONE) -> set[str]:
    return set(routes.plan_route(plan, first)["typed_per_filter_config"])


def test_answers_pass_no_filters_that_have_nothing_to_do() -> None:
    """A filter costs as much for each event of a stream as for a whole answer."""
    (fitting,) = {f["name"] for f in upstream_filters("a", ONE, has_key=True)} - {
        first_event.STREAM_FILTER,
        "codec",
    }
    streamed = Plan(("a",), idle_ms=60_000)
    assert left_out(Plan(("a",))) == {fitting, first_event.STREAM_FILTER}
    assert left_out(streamed) == {fitting, LUA_FILTER}
    assert left_out(streamed._replace(mirrored=True)) == set()


def test_first_attempts_are_spared_what_makes_others_fit_only_where_nothing_else_is_to_do() -> None:
    fitting = left_out(Plan(("a",))) - {first_event.STREAM_FILTER}
    for chain in (("a", "b"), ("a", "a", "b")):
        assert fitting < left_out(Plan(chain))
        removed = routes.plan_route(Plan(chain), ONE)["request_headers_to_remove"]
        assert {*CLIENT_CREDENTIALS, "x-mr-plan"} <= set(removed)
    drops = ONE.model_copy(
        update={"parameters": ONE.parameters.model_copy(update={"drop": ("logprobs",)})}
    )
    other_model = ONE.model_copy(update={"model": "another"})
    assert not fitting & left_out(Plan(("a", "b", "a")))
    assert not fitting & left_out(Plan(("a",)), drops)
    # The cluster may be newer than the plan: another model, another filter.
    assert not fitting & left_out(Plan(("a",)), other_model)
