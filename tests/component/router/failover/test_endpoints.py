"""Servers die, freeze and come back under load, and no caller notices."""

from __future__ import annotations

from component.router.failover.fleet import Fleet, run_for
from component.router.failover.load import Load
from component.router.rig import Router


async def test_one_endpoint_is_killed(router: Router, fleet: Fleet) -> None:
    await router.apply(*fleet.manifests())
    await fleet.healthy(router)
    victim = fleet.servers["alpha"][0]
    with Load(router.port) as load:
        await run_for(1.0)
        victim.kill()
        moment = await run_for(1.5)
        settled = await run_for(1.0)
        victim.start()
        await fleet.healthy(router, "alpha")
        healed = await run_for(1.0)
    print(load.story())
    load.assert_none_failed()
    assert set(load.pools(settled)) == {"alpha"}
    back = [sample for sample in load.since(healed) if sample.server == victim.name]
    assert back, "the endpoint that is back gets requests"
    await fleet.assert_pure()
