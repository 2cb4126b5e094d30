"""The router is told to stop under load: what it has begun it finishes."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import httpx

from component.router.failover.fleet import run_for
from component.router.failover.load import Load
from component.router.rig import Rig, Router, pool, route

CHAT = {"model": "assistant", "messages": [{"role": "user", "content": "hi"}]}


async def read_stream(router: Router) -> tuple[float, str]:
    """A stream's text, and when its last byte came."""
    async with (
        router.http() as http,
        http.stream(
            "POST", "/v1/chat/completions", json={**CHAT, "stream": True, "max_tokens": 30}
        ) as response,
    ):
        assert response.status_code == 200
        text = (await response.aread()).decode()
    return time.monotonic(), text


async def test_a_router_stops_under_load(own_rig: Rig) -> None:
    quick = own_rig.simulator("quick")
    slow = own_rig.simulator("slow", options=["--per-token", "100", "--tokens", "30"])
    router = own_rig.router(
        pool("quick", quick),
        pool("slow", slow),
        route("chat", pools=["quick"]),
        route("assistant", pools=["slow"]),
    )
    with Load(router.port, ["chat"], rate=300) as load:
        streams = [asyncio.create_task(read_stream(router)) for _ in range(5)]
        await run_for(0.5)
        children = router.children()
        news = asyncio.create_task(wait_for_news(router))
        await asyncio.sleep(0.1)
        told = time.monotonic()
        os.kill(router.pid, signal.SIGTERM)
        await asyncio.sleep(1.0)
        # Others have learned by now that this router goes.
        load.stop()
        ended = [await stream for stream in streams]
        last = max(moment for moment, _ in ended)
        async with router.http() as http:
            readiness = await _readiness(http, router)
        status = await asyncio.to_thread(router.wait, 10.0)
        gone = time.monotonic()
    print(
        f"{load.story()}; streams until {last - told:.2f} s after the signal, "
        f"the end after {gone - told:.2f} s"
    )
    load.assert_none_failed()
    assert status == 0
    assert last - told > 1.5, "the streams were under way"
    for _, text in ended:
        assert text.rstrip().endswith("data: [DONE]"), text[-300:]
    assert readiness in (0, 503)
    # Nobody is waited for who only waits for news.
    assert gone - last < 3.0
    await news
    assert not any(map(is_alive, children.values()))
    # While it drains it serves: callers are asked to come back elsewhere, and may not at once.
    during = load.since(told)
    assert len(during) > 100
    assert {sample.headers.get("connection") for sample in during[-50:]} == {"close"}


async def wait_for_news(router: Router) -> None:
    """As the operator does; the end of the agent ends it."""
    version = await router.version()
    async with router.http(base_url=router.admin, timeout=60.0) as http:
        with suppress(httpx.TransportError):
            await http.get("/configz", params={"after": version, "timeout": 50})


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def _readiness(http: httpx.AsyncClient, router: Router) -> int:
    try:
        return (await http.get(f"{router.admin}/readyz")).status_code
    except httpx.TransportError:
        return 0
