"""How long it takes from a write to the API server until Envoy works by it.

The figures are printed (`pytest -s`). What is asserted leaves room for a machine that does other
things at the same time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from cluster.agents import Pod, config, endpoint, endpoint_slice, pool, route
from modelrouter.api.router_config import RouteConfig
from modelrouter.kube.client import KubeClient
from modelrouter.kube.connection import find_cluster
from modelrouter.kube.resources import CONFIG_MAPS, ENDPOINT_SLICES
from modelrouter.plan.children import plan_shard
from modelrouter.plan.shards import SHARD_LIMIT, entries, place, version

CHANGES = 100
ROUTES = 1000
POOLS = 200


async def test_a_pod_that_goes_reaches_envoy_in_milliseconds(pod: Pod) -> None:
    addresses = [f"10.77.1.{i}" for i in range(1, 21)]
    pod.apply(endpoint_slice("models-a", *addresses))
    wanted = pod.write(config({"a": pool()}, {"chat": route("a")}))
    pod.start()
    await pod.reached(wanted)
    await pod.has("a", *(f"{address}:8000" for address in addresses))
    written, seen = [], []
    async with KubeClient(await find_cluster(pod.kubernetes.kubeconfig)) as client:
        for turn in range(CHANGES):
            gone = addresses[turn % len(addresses)]
            endpoints = [endpoint(each, ready=each != gone) for each in addresses]
            changed = endpoint_slice("models-a", *endpoints)
            changed["metadata"]["namespace"] = pod.namespace
            expected = {f"{each}:8000" for each in addresses if each != gone}
            began = time.monotonic()
            await client.apply(ENDPOINT_SLICES, changed, manager="kubectl")
            answered = time.monotonic()
            while pod.hosts("a") != expected:
                await asyncio.sleep(0)
                assert time.monotonic() < began + 10
            seen.append(time.monotonic() - began)
            written.append(answered - began)
    after = [whole - part for whole, part in zip(seen, written, strict=True)]
    _tell("EndpointSlice written", written)
    _tell("after that, until Envoy has it", after)
    _tell("both", seen)
    assert _quantile(after, 0.5) < 0.05


async def test_one_route_of_a_thousand(pod: Pod) -> None:
    pools = {f"pool-{i}": pool(model=f"acme/model-{i}") for i in range(POOLS)}

    def one(i: int, timeout_ms: int = 10_000) -> RouteConfig:
        chain = (f"pool-{i % POOLS}", f"pool-{(i + 1) % POOLS}")
        return route(*chain, model=f"model-{i}", request_timeout_ms=timeout_ms)

    routes = {f"route-{i}": one(i) for i in range(ROUTES)}
    pod.apply(endpoint_slice("models-a", "10.77.0.1", "10.77.0.2"))
    first = pod.write(config(pools, routes))
    began = time.monotonic()
    pod.start()
    await pod.reached(first, within=60)
    print(f"\nagent and Envoy started with {ROUTES} routes: {time.monotonic() - began:.1f} s")
    shards = place(entries(config(pools, routes)), {})
    took = []
    async with KubeClient(await find_cluster(pod.kubernetes.kubeconfig)) as client:
        for turn in range(1, 31):
            routes[f"route-{turn * 31}"] = one(turn * 31, 11_000)
            content = entries(config(pools, routes))
            after = place(content, shards, SHARD_LIMIT)
            (index,) = [index for index in after if after[index] != shards.get(index)]
            shards = after
            shard = plan_shard("chat", pod.namespace, index, after[index])
            began = time.monotonic()
            await client.apply(CONFIG_MAPS, shard, manager="kubectl")
            goal = version(content)
            known = ""
            while known != goal:
                known = (await pod.configz(after=known, timeout="10"))["version"]
            took.append(time.monotonic() - began)
    _tell("ConfigMap written, and Envoy works by it", took)
    assert _quantile(took, 0.5) < 2


def _tell(what: str, seconds: Sequence[float]) -> None:
    p50, p99 = _quantile(seconds, 0.5) * 1e3, _quantile(seconds, 0.99) * 1e3
    print(f"\n{what}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, of {len(seconds)}")


def _quantile(values: Sequence[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(q * len(ordered)), len(ordered) - 1)]
