"""A pool that has lost some of its endpoints is helped by the next one."""

from __future__ import annotations

from component.router.failover.fleet import Fleet, run_for
from component.router.failover.load import Load
from component.router.rig import Router, eventually


async def test_the_next_pool_takes_a_share(router: Router, fleet: Fleet) -> None:
    """Of three endpoints one is left, where two thirds have to be: half of the requests go."""
    await fleet.use(router, *fleet.manifests(minHealthyPercent=67))
    with Load(router.port, rate=60) as load:
        await run_for(0.5)
        for server in fleet.servers["alpha"][:2]:
            server.kill()

        async def weakened() -> bool:
            return bool((await router.view())["pools"]["alpha"]["ready"] == 1)

        await eventually(weakened)
        # Decisions are shared for a tenth of a second.
        await run_for(0.3)
        weak = await run_for(2.0)
        ended = await run_for(0.0)
        await fleet.restore_only("alpha")
        await fleet.healthy(router, "alpha")
        await run_for(0.3)
        well = await run_for(0.7)
    print(load.story())
    load.assert_none_failed(cut_streams=2)
    shares = load.pools(weak, ended)
    assert 0.3 < shares["beta"] / sum(shares.values()) < 0.7, shares
    assert shares["gamma"] < 0.05 * shares["beta"]
    reasons = {
        sample.headers["x-mr-reason"] for sample in load.since(weak, ended) if sample.pool == "beta"
    }
    assert reasons == {"rule:pools; alpha spills over"}
    assert load.is_served_by("alpha", well)
    await fleet.assert_pure()


async def test_by_default_a_pool_with_one_endpoint_left_keeps_all(
    router: Router, fleet: Fleet
) -> None:
    await fleet.use(router)
    for server in fleet.servers["alpha"][:2]:
        server.kill()
    await run_for(1.5)
    with Load(router.port, rate=60) as load:
        await run_for(0.7)
    load.assert_none_failed()
    assert load.is_served_by("alpha", 0)
