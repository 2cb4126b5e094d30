"""Servers die, freeze and come back under load, and no caller notices."""

from __future__ import annotations

import asyncio

from component.router.failover.fleet import Fleet, run_for
from component.router.failover.load import MANY, Load
from component.router.rig import Router, route


async def test_one_endpoint_is_killed(router: Router, fleet: Fleet) -> None:
    await fleet.use(router)
    victim = fleet.of("alpha")
    with Load(router.port, rate=MANY) as load:
        await run_for(0.7)
        victim.kill()
        await run_for(1.0)
        settled = await run_for(0.7)
        await asyncio.to_thread(victim.start)
        back = load.first(lambda sample: sample.server == victim.name, settled)
        await run_for(0.5)
    print(load.story())
    load.assert_none_failed(cut_streams=1)
    assert load.is_served_by("alpha", settled), "a pool with endpoints left is not left"
    assert back.attempts == 1
    await fleet.assert_pure()


async def test_a_whole_pool_is_killed(router: Router, fleet: Fleet) -> None:
    await fleet.use(router)
    with Load(router.port, rate=MANY) as load:
        await run_for(0.7)
        for server in fleet.servers["alpha"]:
            server.kill()
        await run_for(1.0)
        settled = await run_for(0.7)
        assert load.is_served_by("beta", settled)
        await asyncio.gather(
            *(asyncio.to_thread(server.start) for server in fleet.servers["alpha"])
        )
        await fleet.healthy(router, "alpha")
        healed = await run_for(0.7)
    print(load.story())
    load.assert_none_failed(cut_streams=3)
    assert load.is_served_by("alpha", healed), "the pool that is well again takes over"
    seen = await fleet.assert_pure()
    assert seen["beta"] > 300
    assert seen["gamma"] < 0.1 * seen["beta"]


async def test_two_pools_are_killed_one_after_the_other(router: Router, fleet: Fleet) -> None:
    await fleet.use(router)
    with Load(router.port, rate=MANY) as load:
        await run_for(0.5)
        for server in fleet.servers["alpha"]:
            server.kill()
        await run_for(0.5)
        fleet.of("beta").kill()
        await run_for(0.7)
        settled = await run_for(0.5)
    print(load.story())
    load.assert_none_failed(cut_streams=3)
    assert set(load.pools(settled)) == {"gamma"}
    assert (await fleet.assert_pure("gamma"))["gamma"] > 200


async def test_one_endpoint_freezes(router: Router, fleet: Fleet) -> None:
    await fleet.use(router)
    victim = fleet.of("alpha")
    with Load(router.port, rate=MANY) as load:
        await run_for(0.7)
        victim.pause()
        moment = await run_for(2.0)
        settled = await run_for(0.7)
        victim.resume()
        back = load.first(lambda sample: sample.server == victim.name, settled)
    print(load.story())
    load.assert_none_failed()
    slowest = max(sample.seconds for sample in load.since(moment))
    assert slowest < 4.0, "the attempt's time limit, once or twice, and no more"
    calm = load.since(settled, back.sent)
    retried = [sample for sample in calm if sample.attempts > 1]
    assert len(retried) < 0.1 * len(calm), "few are sent to it once it is known"
    await fleet.assert_pure("beta", "gamma")


async def test_a_whole_pool_freezes(router: Router, fleet: Fleet) -> None:
    await fleet.use(router)
    with Load(router.port) as load:
        await run_for(0.5)
        for server in fleet.servers["alpha"]:
            server.pause()
        await run_for(2.3)
        settled = await run_for(0.7)
        assert load.pools(settled)["alpha"] == 0
        for server in fleet.servers["alpha"]:
            server.resume()
        await fleet.healthy(router, "alpha")
        healed = await run_for(0.5)
    print(load.story())
    load.assert_none_failed()
    assert load.is_served_by("alpha", healed)
    await fleet.assert_pure("beta", "gamma")


async def test_traffic_returns_by_weight(router: Router, fleet: Fleet) -> None:
    weights = {"alpha": 5, "beta": 3, "gamma": 2}
    targets = [{"pool": name, "weight": weight} for name, weight in weights.items()]
    by_weight = route(
        "assistant", pools=list(weights), rules=[{"name": "shares", "targets": targets}]
    )
    await fleet.use(router, *fleet.pools(), by_weight)
    with Load(router.port, rate=MANY) as load:
        before = await run_for(1.5)
        fleet.of("beta").kill()
        died = await run_for(1.0)
        without = await run_for(0.7)
        await asyncio.to_thread(fleet.of("beta").start)
        await fleet.healthy(router, "beta")
        healed = await run_for(1.5)
    print(load.story())
    load.assert_none_failed(cut_streams=1)
    assert load.pools(without, without + 0.7)["beta"] == 0
    for shares in (load.pools(before, died), load.pools(healed)):
        total = sum(shares.values())
        for name, weight in weights.items():
            assert abs(shares[name] / total - weight / 10) < 0.1, shares
    await fleet.assert_pure()
