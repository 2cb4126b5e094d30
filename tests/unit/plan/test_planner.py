"""A planner that has seen the past plans as one that has not."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from modelrouter.api.pool import ModelPool
from modelrouter.api.route import ModelRoute
from modelrouter.api.router_config import RouterConfig
from modelrouter.plan.facts import ServiceFacts, ServicePort
from modelrouter.plan.planner import PlannedRoutes, RouterPlanner
from modelrouter.plan.shards import entries, version

POOLS = ["a", "b", "c"]
ROUTES = ["r", "s", "t"]
MODELS = ["m", "n", "o"]


def pool(name: str, **spec: Any) -> ModelPool:
    return ModelPool.model_validate(
        {
            "metadata": {"name": name},
            "spec": {
                "model": name,
                **({} if _has_source(spec) else {"endpoints": ["h:1"]}),
                **spec,
            },
        }
    )


def _has_source(spec: Mapping[str, Any]) -> bool:
    return bool({"service", "provider", "endpoints"} & spec.keys())


def route(name: str, created: str = "", **spec: Any) -> ModelRoute:
    return ModelRoute.model_validate(
        {
            "metadata": {"name": name, "creationTimestamp": created or None},
            "spec": {"models": [name], "pools": ["a"], **spec},
        }
    )


def some(names: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True)


SOURCES = st.sampled_from(
    [
        {"endpoints": ["10.0.0.1:80"]},
        {"service": {"name": "s", "port": 80}},
        {"service": {"name": "s", "port": "web"}},
        {"provider": {"kind": "OpenAI", "credentials": {"secretRef": {"name": "k", "key": "a"}}}},
    ]
)
PORTS = st.sampled_from(
    [None, (), (ServicePort("web", 80),), (ServicePort("", 80),), (ServicePort("x", 8),)]
)
CHANGES = st.one_of(
    st.tuples(st.just("pool"), st.sampled_from(POOLS), SOURCES),
    st.tuples(st.just("no pool"), st.sampled_from(POOLS)),
    st.tuples(
        st.just("route"),
        st.sampled_from(ROUTES),
        st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]),
        some(MODELS),
        some(POOLS),
    ),
    st.tuples(st.just("no route"), st.sampled_from(ROUTES)),
    st.tuples(st.just("service"), PORTS),
    st.tuples(st.just("addresses"), st.sampled_from(POOLS), st.sampled_from([None, [], ["h:9"]])),
)


@given(st.lists(CHANGES, max_size=25))
@settings(deadline=None, max_examples=150)
def test_the_past_of_a_planner_does_not_show(changes: list[Any]) -> None:
    planner = RouterPlanner()
    routes: dict[str, ModelRoute] = {}
    pools: dict[str, ModelPool] = {}
    services: dict[str, ServiceFacts] = {}
    addresses: dict[str, list[str]] = {}
    for change in changes:
        match change:
            case ("pool", name, source):
                pools[name] = pool(name, **source)
            case ("no pool", name):
                pools.pop(name, None)
            case ("route", name, created, models, names):
                routes[name] = route(name, created, models=models, pools=names)
            case ("no route", name):
                routes.pop(name, None)
            case ("service", ports):
                services = {"s": ServiceFacts(ports=ports)} if ports is not None else {}
            case ("addresses", name, given_addresses):
                addresses[name] = given_addresses
                if given_addresses is None:
                    del addresses[name]
        planned = planner.plan(routes, pools, services, addresses)
        assert planned == RouterPlanner().plan(routes, pools, services, addresses)
        assert_is_whole(planned)


def assert_is_whole(planned: PlannedRoutes) -> None:
    """What stands twice in a plan agrees."""
    config = RouterConfig(router="r", namespace="n", pools=planned.pools, routes=planned.routes)
    assert planned.entries == entries(config)
    assert planned.version == version(planned.entries)
    served = {name: o.config for name, o in planned.outcomes.items() if o.config is not None}
    assert served == planned.routes
    for name, outcome in planned.outcomes.items():
        claimed = [*outcome.models, *outcome.conflicts]
        assert len(set(claimed)) == len(claimed)
        for winner in outcome.conflicts.values():
            assert winner != name
    owners = [model for outcome in planned.outcomes.values() for model in outcome.models]
    assert len(set(owners)) == len(owners)


def test_what_did_not_change_is_the_same_object() -> None:
    planner = RouterPlanner()
    routes = {"r": route("r"), "s": route("s")}
    pools = {"a": pool("a")}
    before = planner.plan(routes, pools)
    after = planner.plan({**routes, "s": route("s", failover=["a"])}, pools)
    assert after.outcomes["r"] is before.outcomes["r"]
    assert after.outcomes["s"] is not before.outcomes["s"]
    assert after.pools["a"] is before.pools["a"]
    assert before.outcomes["s"].config == before.routes["s"]


def test_an_older_route_takes_its_model_back_from_a_younger_one() -> None:
    planner = RouterPlanner()
    young = route("young", "2026-01-02T00:00:00Z", models=["m", "n"])
    pools = {"a": pool("a")}
    assert planner.plan({"young": young}, pools).outcomes["young"].models == ("m", "n")
    old = route("old", "2026-01-01T00:00:00Z", models=["m"])
    planned = planner.plan({"young": young, "old": old}, pools)
    assert planned.outcomes["young"].models == ("n",)
    assert planned.outcomes["young"].conflicts == {"m": "old"}
    assert planned.routes["young"].models == ["n"]
    assert planner.plan({"young": young}, pools).outcomes["young"].conflicts == {}


def test_a_route_without_a_model_of_its_own_is_not_served() -> None:
    routes = {
        "young": route("young", "2026-01-02T00:00:00Z", models=["m"]),
        "old": route("old", "2026-01-01T00:00:00Z", models=["m"]),
    }
    planned = RouterPlanner().plan(routes, {"a": pool("a")})
    assert list(planned.routes) == ["old"]
    assert planned.outcomes["young"].config is None


def endpoints_of(ports: tuple[ServicePort, ...] | None, wanted: int | str) -> Any:
    pools = {"a": pool("a", service={"name": "s", "port": wanted})}
    services = None if ports is None else {"s": ServiceFacts(ports=ports)}
    planned = RouterPlanner().plan({"r": route("r")}, pools, services).pools["a"]
    assert (planned.service is None) == (planned.addresses is not None)
    return planned.service.port if planned.service is not None else planned.addresses


def test_the_port_of_a_service_is_found_by_number_or_name() -> None:
    ports = (ServicePort("web", 80), ServicePort("metrics", 9090))
    assert endpoints_of(ports, 80) == "web"
    assert endpoints_of(ports, "metrics") == "metrics"
    assert endpoints_of((ServicePort("", 80),), 80) == ""
    assert endpoints_of(ports, 8080) == []
    assert endpoints_of((), 80) == []
    # Without a cluster the manifest is all there is.
    assert endpoints_of(None, 80) == 80


def test_a_service_that_does_not_exist_has_no_endpoints() -> None:
    pools = {"a": pool("a", service={"name": "s", "port": 80})}
    assert RouterPlanner().plan({"r": route("r")}, pools, {}).pools["a"].addresses == []


def test_only_the_pools_that_routes_name_are_planned() -> None:
    planned = RouterPlanner().plan({"r": route("r")}, {"a": pool("a"), "b": pool("b")})
    assert list(planned.pools) == ["a"]


def test_one_change_among_many_is_planned_without_planning_the_others() -> None:
    pools = {f"p{i}": pool(f"p{i}") for i in range(50)}
    routes = {f"r{i}": route(f"r{i}", pools=[f"p{i % 50}"]) for i in range(400)}
    planner = RouterPlanner()
    planner.plan(routes, pools)

    def seconds(planner: RouterPlanner) -> float:
        started = time.process_time()
        planner.plan(routes, pools)
        return time.process_time() - started

    routes["r7"] = route("r7", pools=["p1", "p2"])
    # In CPU time and against itself, so that a busy machine does not matter.
    assert seconds(planner) * 3 < seconds(RouterPlanner())
