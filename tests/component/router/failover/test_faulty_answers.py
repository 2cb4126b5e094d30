"""Servers answer badly, or not at all, under load, and no caller notices."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from component.router.failover.fleet import Fleet, run_for
from component.router.failover.load import MANY, Load
from component.router.processes import ask
from component.router.rig import Router, eventually

FAULTS: dict[str, dict[str, Any]] = {
    "429": {"fail_status": 429, "retry_after": 30},
    "503": {"fail_status": 503},
    "500 and a good answer in turn": {"fail_status": 500, "fail_rate": 0.5},
    "never answers": {"mode": "hang"},
    "reset": {"mode": "reset"},
    "reset half-way in the headers": {"mode": "reset_mid_headers"},
    "an error where the stream should begin": {"mode": "stream_error", "after_tokens": 0},
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_pool_answers_badly(router: Router, fleet: Fleet, fault: str) -> None:
    await fleet.use(router)
    # Of a dying engine every request is a stream: without those that fail with 500 besides.
    streams, rate = (1, 150.0) if fault.startswith("an error where") else (10, MANY)
    with Load(router.port, rate=rate, stream_every=streams) as load:
        await run_for(0.4)
        await asyncio.gather(*(s.fault(**FAULTS[fault]) for s in fleet.servers["alpha"]))
        bad = await run_for(1.5)
        good = await run_for(0.0)
        await asyncio.gather(*(server.fault() for server in fleet.servers["alpha"]))
        back = load.first(lambda sample: sample.pool == "alpha" and sample.attempts == 1, good)
        await run_for(0.4)
    print(f"{fault}: {load.story()}; back after {back.ended - good:.2f} s")
    load.assert_none_failed()
    assert load.pools(bad, good)["beta"] > 100
    # On a busy machine a good answer may come too late once in a while.
    assert load.pools(bad, good)["gamma"] < 0.05 * load.pools(bad, good)["beta"]
    if FAULTS[fault].get("fail_rate", 1.0) == 1.0:
        late = load.since(bad + 0.3, good)
        assert not [s for s in late if s.pool == "alpha" and s.ended < good]
    await fleet.assert_pure()


async def test_one_endpoint_answers_badly(router: Router, fleet: Fleet) -> None:
    """Its pool has better ones, so the pool is not left."""
    await fleet.use(router)
    victim = fleet.of("alpha")
    with Load(router.port) as load:
        await run_for(0.4)
        await victim.fault(fail_status=503)
        bad = await run_for(1.5)
    print(load.story())
    load.assert_none_failed()
    pools = load.pools(bad)
    assert pools["alpha"] > 0.99 * sum(pools.values()), pools
    assert victim.name not in {sample.server for sample in load.since(bad + 0.3)}


async def test_all_pools_answer_now_and_then(router: Router, fleet: Fleet) -> None:
    """One request in five fails on each server: some are tried four times, none in vain."""
    calm = {"outlierDetection": {"consecutiveErrors": 1000}}
    await fleet.use(router, *fleet.manifests()[-1:], *fleet.pools(alpha=calm, beta=calm))
    with Load(router.port) as load:
        for name in ("alpha", "beta"):
            for server in fleet.servers[name]:
                await server.fault(fail_status=503, fail_rate=0.3)
        await run_for(2.5)
    print(load.story())
    load.assert_none_failed()
    assert {sample.attempts for sample in load.samples} >= {1, 2, 3}
    await fleet.assert_pure()


async def test_a_dying_engine_is_ejected_and_seen(router: Router, fleet: Fleet) -> None:
    """Of its streams only the first event says that it is dead; other answers are 500."""
    outliers = {"consecutiveErrors": 3, "baseEjectionTime": "2s", "maxEjectionPercent": 50}
    spec = {"outlierDetection": outliers}
    await fleet.use(router, *fleet.manifests()[-1:], *fleet.pools(alpha=spec))
    victim = fleet.of("alpha")
    before = await router.metric("modelrouter_failed_streams_total", pool="alpha")
    with Load(router.port, rate=200, stream_every=2) as load:
        await run_for(0.3)
        await victim.fault(mode="stream_error")

        async def told(**counts: int) -> bool:
            pools = (await ask(router.admin_port, "GET", "/configz"))["pools"]
            return bool(pools["alpha"] == counts)

        await eventually(partial(told, ready=2, total=3, ejected=1))
        ejected = await router.metric("modelrouter_pool_endpoints", pool="alpha", state="ejected")
        healed = await run_for(0.0)
        await victim.fault()
        load.first(lambda sample: sample.server == victim.name, healed)
        await eventually(partial(told, ready=3, total=3))
    load.assert_none_failed()
    assert ejected == 1
    assert load.is_served_by("alpha", 0), "the pool has other endpoints"
    assert await router.metric("modelrouter_failed_streams_total", pool="alpha") > before
