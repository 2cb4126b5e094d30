"""What routers and model servers tell, summed up."""

from __future__ import annotations

from modelrouter.plan.facts import PoolLoad
from modelrouter.plan.scaling.exposition import read_server, samples
from modelrouter.plan.scaling.highest import Highest
from modelrouter.plan.scaling.load import RouterLoads, ServerLoad, measure

METRICS = """\
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="acme/llama {chat}"} 7.0
vllm:num_requests_waiting{engine="1",model_name="acme/llama {chat}"} 2.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 100.0
vllm:kv_cache_usage_perc{engine="0",model_name="acme/llama {chat}"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="acme/llama {chat}"} 0.75
"""


def test_requests_of_all_pods_of_all_routers_count_and_those_for_adapters_too() -> None:
    load = measure(
        "llama",
        "running_requests",
        [
            RouterLoads("a-1", {"llama": PoolLoad(3, 1), "other": PoolLoad(50, 0)}, True),
            RouterLoads("a-2", {"llama": PoolLoad(2, 0), "llama/support": PoolLoad(4, 2)}),
            RouterLoads("b-1", {"llama/support": PoolLoad(1, 0), "llama-2": PoolLoad(9, 9)}),
        ],
    )
    assert (load.requests, load.waiting, load.amount) == (13, 3, 13.0)
    assert load.complete
    assert load.ready


def test_who_ought_to_tell_and_does_not_is_named() -> None:
    routers = [
        RouterLoads("a-1", {"llama": PoolLoad(3, 0)}),
        RouterLoads("a-2", None),
        RouterLoads("a-3", {"other": PoolLoad(1, 0)}),
    ]
    load = measure("llama", "running_requests", routers, unreachable=["router b"])
    assert load.missing == ("router b", "router pod a-2", "router pod a-3")
    assert load.amount == 3
    assert not load.ready


def test_a_pool_that_no_router_uses_has_no_load() -> None:
    assert measure("llama", "running_requests", []).complete


def test_a_target_of_the_servers_is_summed_over_them() -> None:
    routers = [RouterLoads("a-1", {"llama": PoolLoad(3, 0)})]
    servers = [ServerLoad("p-1", 4.0, 20.0), ServerLoad("p-2", 5.0, 90.0), ServerLoad("p-3")]
    load = measure("llama", "waiting_requests", routers, servers)
    assert (load.requests, load.amount, load.missing) == (3, 9.0, ("pod p-3",))
    load = measure("llama", "kv_cache_percent", routers, servers[:2])
    assert (load.amount, load.complete) == (110.0, True)


def test_a_server_tells_its_queue_and_its_cache() -> None:
    assert read_server("p", METRICS) == ServerLoad("p", 9.0, 50.0)
    assert read_server("p", METRICS.replace("kv_cache", "gpu_cache")).kv_cache_percent == 50.0
    assert read_server("p", "# nothing\n") == ServerLoad("p", None, None)


def test_what_is_no_number_is_left_out() -> None:
    text = 'a{x="1"} NaN\na{x="2"} +Inf\na{x="3"} x\na{x="4"}\na 5\na{x="}"} 6 1700000000\nab 7\n'
    assert list(samples(text, "a")) == [5.0, 6.0]


def test_the_highest_of_a_window_is_kept_until_the_window_has_passed_it() -> None:
    highest = Highest().then(5, 0.0, 10).then(9, 1.0, 10).then(2, 4.0, 10).then(3, 6.0, 10)
    assert highest.figure == 9
    assert highest.then(1, 13.0, 10).figure == 9, "it was so until 4.0"
    assert highest.then(1, 14.5, 10).figure == 3
    # A figure is so until the next one is told, however long that takes.
    assert highest.then(1, 100.0, 10).figure == 3
    assert highest.then(1, 100.0, 10).then(1, 111.0, 10).figure == 1
