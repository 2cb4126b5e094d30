import asyncio, time, pytest
from modelrouter.router.discovery import ResourceSet


@pytest.mark.asyncio
async def test_first(stage, build):
    await stage.backend("a")
    await stage.backend("b")
    await stage.start_agent()
    stage.store.update(build.pools("a", "b"), "1")
    t = time.monotonic()
    await stage.start_envoy()
    assert await stage.store.acknowledged("1", 5)
    print("ack", time.monotonic() - t)
    await stage.until(200, "a")
    print("live", time.monotonic() - t)
    for i in range(5):
        t = time.monotonic()
        stage.store.update(build.pools("a", "b", to="ab"[(i + 1) % 2]), str(i + 2))
        assert await stage.store.acknowledged(str(i + 2), 5)
        print("edit", time.monotonic() - t, await stage.get())
    # new cluster with slow health check
    await stage.backend("c")
    hc = dict(
        health_checks=[
            {
                "timeout": "1s",
                "interval": "1s",
                "no_traffic_interval": "1s",
                "unhealthy_threshold": 1,
                "healthy_threshold": 1,
                "http_health_check": {"path": "/h"},
            }
        ]
    )
    p = build.pools("a", "b", "c", to="c")

    async def hang(r, w):
        await asyncio.sleep(100)

    s = await asyncio.start_unix_server(hang, stage.home / "hang.backend")
    stage.backends.append(s)
    p = ResourceSet(
        clusters={**p.clusters, "hang": build.cluster("hang", **hc)},
        endpoints={**p.endpoints, "hang": build.endpoints("hang", "hang")},
        routes=p.routes,
    )
    t = time.monotonic()
    stage.store.update(p, "hc")
    print(
        await stage.store.acknowledged("hc", 5),
        "hang hc ack",
        time.monotonic() - t,
        await stage.get(),
        stage.store.acknowledged_clusters,
    )
