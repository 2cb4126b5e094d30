"""LeastQueue: what servers tell of their queues moves requests that Envoy cannot know better."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from aiohttp import web

from component.router.rig import Rig, Router, eventually, pool, route

CHAT = "/v1/chat/completions"
ASK = {"model": "chat", "messages": [{"role": "user", "content": "Hello"}]}


class Server:
    """A model server that answers at once, and tells of the queue that it is given."""

    def __init__(self) -> None:
        self.waiting: int | None = 0
        self.requests = 0
        self.address = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Server]:
        app = web.Application()
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_post(CHAT, self._answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.address = f"{host}:{port}"
        yield self
        await runner.cleanup()

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _metrics(self, _: web.Request) -> web.Response:
        if self.waiting is None:
            return web.Response(status=404)
        labels = 'engine="0",model_name="m"'
        return web.Response(
            text=f"vllm:num_requests_waiting{{{labels}}} {self.waiting}.0\n"
            f"vllm:kv_cache_usage_perc{{{labels}}} 0.0\n"
        )

    async def _answer(self, _: web.Request) -> web.Response:
        self.requests += 1
        return web.json_response({"choices": []})


async def shares(router: Router, servers: list[Server]) -> list[float]:
    """How requests, sent one after the other, are shared."""
    before = Counter({n: server.requests for n, server in enumerate(servers)})
    async with router.http() as http:
        for _ in range(60):
            assert (await http.post(CHAT, json=ASK)).status_code == 200
    return [(server.requests - before[n]) / 60 for n, server in enumerate(servers)]


async def even(router: Router, servers: list[Server]) -> bool:
    return 0.25 < (await shares(router, servers))[0] < 0.75


async def mostly(router: Router, servers: list[Server], best: int) -> bool:
    return (await shares(router, servers))[best] > 0.85


async def test_an_endpoint_with_a_queue_gets_less(own_rig: Rig) -> None:
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(Server().running()) for _ in range(2)]
        addresses = [server.address for server in servers]
        balanced = pool("queued", *addresses, model="acme/chat", loadBalancing="LeastQueue")
        chat = route("chat", pools=["queued"])
        router = await asyncio.to_thread(own_rig.router, balanced, chat)
        await eventually(partial(even, router, servers))
        servers[0].waiting = 15
        await eventually(partial(mostly, router, servers, 1))
        servers[0].waiting, servers[1].waiting = 0, 15
        await eventually(partial(mostly, router, servers, 0))
        # The weights outlive a change of the routes.
        await router.apply(balanced, route("chat", pools=["queued"], retry={"attempts": 1}))
        await eventually(partial(mostly, router, servers, 0))
        # Nothing is told any more, or balancing does not ask: all alike.
        servers[1].waiting = None
        await eventually(partial(even, router, servers))
        servers[1].waiting = 15
        await eventually(partial(mostly, router, servers, 0))
        plain = pool("queued", *addresses, model="acme/chat", loadBalancing="LeastRequest")
        await router.apply(plain, chat)
        await eventually(partial(even, router, servers))
