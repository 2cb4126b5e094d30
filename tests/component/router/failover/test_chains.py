"""Chains with gaps, chains of one, and what callers are told when nothing is left."""

from __future__ import annotations

import asyncio
import time

import pytest

from component.router.failover.fleet import ORDER, RETRY, Fleet, run_for
from component.router.failover.load import Load
from component.router.rig import Router, eventually, pool, route
from modelrouter.standalone.ports import free_port

CHAT = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2, "temperature": 0.5}


async def test_a_dead_pool_in_the_middle(router: Router, fleet: Fleet) -> None:
    await fleet.use(router)
    fleet.of("beta").kill()
    with Load(router.port) as load:
        await run_for(0.3)
        await asyncio.gather(*(s.fault(fail_status=503) for s in fleet.servers["alpha"]))
        bad = await run_for(1.5)
    print(load.story())
    load.assert_none_failed()
    assert load.is_served_by("gamma", bad)
    await fleet.assert_pure("alpha", "gamma")


@pytest.mark.parametrize("order", ["beta gamma alpha", "gamma alpha beta"])
async def test_keys_stay_with_their_pools(router: Router, fleet: Fleet, order: str) -> None:
    """Each pool of the chain fails in turn; the last one sees only what is its own."""
    names = order.split()
    await fleet.use(router, *fleet.manifests(pools=names))
    for name in names[:2]:
        await asyncio.gather(*(s.fault(fail_status=503) for s in fleet.servers[name]))
    with Load(router.port) as load:
        await run_for(0.6)
    load.assert_none_failed()
    assert set(load.pools(0)) == {names[-1]}
    seen = await fleet.assert_pure()
    assert all(seen.values()), seen


async def test_an_unreachable_pool_from_the_start(router: Router, fleet: Fleet) -> None:
    ghost = pool("ghost", f"127.0.0.1:{free_port()}", model="acme/ghost")
    unknown = pool("unknown", "no-such-host.invalid:80", model="acme/unknown")
    wanted = ["ghost", "unknown", *ORDER]
    await fleet.use(router, ghost, unknown, *fleet.manifests(pools=wanted))
    with Load(router.port) as load:
        await run_for(1.2)
    print(load.story())
    load.assert_none_failed()
    assert load.is_served_by("alpha", 0)


@pytest.mark.parametrize("end", ["killed", "frozen", "503"])
async def test_without_failover_a_pool_is_never_left(
    router: Router, fleet: Fleet, end: str
) -> None:
    """Each caller gets the pool's own error or a 503 with `retry-after`, and no other pool."""
    await fleet.use(router, *fleet.manifests(failover=["None"]))
    with Load(router.port) as load:
        await run_for(0.3)
        for server in fleet.servers["alpha"]:
            if end == "killed":
                server.kill()
            elif end == "frozen":
                server.pause()
            else:
                await server.fault(fail_status=503)
        bad = await run_for(2.0)
        assert not load.pools(bad + 1.5)
        await fleet.restore_only("alpha")
        load.first(lambda sample: not sample.problem, bad + 2.0)
        await fleet.healthy(router, "alpha")
        healed = await run_for(0.5)
    print(load.story())
    assert set(load.pools(healed)) == {"alpha"}
    assert not [sample for sample in load.since(healed) if sample.problem]
    for sample in load.failures:
        if sample.is_cut:
            continue
        assert sample.status in (503, 504), sample
        assert sample.pool in ("", "alpha"), sample
        assert '"error":' in sample.problem
        if sample.pool != "alpha":
            assert int(sample.headers["retry-after"]) >= 1, sample
        assert sample.seconds < 4
    await fleet.assert_untouched("beta", "gamma")


async def test_all_pools_dead(router: Router, fleet: Fleet) -> None:
    """The answer is quick, says what to do, and has the shape of OpenAI's errors."""
    await fleet.use(router)
    with Load(router.port) as load:
        for server in fleet.all:
            server.kill()
        dead = await run_for(1.0)
        settled = await run_for(0.5)
        await fleet.restore_only(*ORDER)
        back = load.first(lambda sample: not sample.problem, settled)
        await fleet.healthy(router)
        healed = await run_for(0.5)
    print(load.story(), f"back after {back.ended - settled:.2f} s")
    gone = [sample for sample in load.since(dead, settled + 0.4) if sample.problem]
    assert len(gone) > 100
    for sample in gone:
        assert sample.status == 503, sample
        assert int(sample.headers["retry-after"]) >= 1, sample
        assert sample.headers["content-type"].startswith("application/json")
        assert '"message":' in sample.problem
        assert '"type":"server_error"' in sample.problem
    took = sorted(sample.seconds for sample in load.since(settled, settled + 0.4))
    assert took[len(took) // 2] < 0.5, "no time-out has to pass before the refusal"
    assert load.is_served_by("alpha", healed)
    assert not [sample for sample in load.since(healed) if sample.problem]


async def test_all_pools_dead_from_the_start(router: Router, fleet: Fleet) -> None:
    ghosts = [pool(f"ghost-{n}", f"127.0.0.1:{free_port()}", model="acme/ghost") for n in (1, 2)]
    lost = route("lost", pools=["ghost-1", "ghost-2"], retry=RETRY)
    await fleet.use(router, *fleet.manifests(lost, *ghosts))
    async with router.http() as http:

        async def refused() -> bool:
            began = time.monotonic()
            answer = await http.post("/v1/chat/completions", json={"model": "lost", **CHAT})
            took = time.monotonic() - began
            error = answer.json()["error"]
            assert answer.status_code == 503, answer.text
            assert set(error) == {"message", "type", "param", "code"}
            assert int(answer.headers["retry-after"]) >= 1
            assert took < 1.0
            return error["code"] == "no_healthy_endpoint"

        await eventually(refused)
        answer = await http.post("/v1/chat/completions", json={"model": "assistant", **CHAT})
        assert answer.status_code == 200
