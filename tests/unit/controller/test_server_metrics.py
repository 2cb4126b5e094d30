"""Asking model servers for their metrics. The servers here are real HTTP servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from modelrouter.controller.children import ChildStore
from modelrouter.controller.pool_children import trim_server_pod
from modelrouter.controller.server_metrics import STALE_SECONDS, ServerMetrics
from modelrouter.controller.snapshot import Snapshot
from modelrouter.kube.resources import PODS
from modelrouter.plan.scaling.load import ServerLoad
from modelrouter.plan.vllm.naming import POOL

LLAMA = ("ns", "llama")


class Server:
    """A model server that tells its queue."""

    def __init__(self) -> None:
        self.waiting = 3
        self.broken = False
        self.asked = 0
        self.port = 0

    async def metrics(self, _: web.Request) -> web.Response:
        self.asked += 1
        if self.broken:
            return web.Response(status=500)
        return web.Response(text=f'vllm:num_requests_waiting{{engine="0"}} {self.waiting}\n')


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_get("/metrics", server.metrics)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.port = runner.addresses[0][1]
    yield server
    await runner.cleanup()


class Stage:
    def __init__(self, session: aiohttp.ClientSession, server: Server) -> None:
        self.now = 100.0
        self.pods = ChildStore(PODS, POOL, trim_server_pod)
        self.metrics = ServerMetrics(session, self.pods, server.port, lambda: self.now)
        self._version = 0

    def pod(self, name: str, ready: bool = True, **metadata: Any) -> None:
        self._version += 1
        self.pods.put(
            {
                "metadata": {
                    "name": name,
                    "namespace": "ns",
                    "uid": name,
                    "resourceVersion": str(self._version),
                    "labels": {POOL: "llama"},
                    **metadata,
                },
                "status": {
                    "podIP": "127.0.0.1",
                    "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
                },
            }
        )


@pytest.fixture
async def stage(server: Server) -> AsyncIterator[Stage]:
    async with aiohttp.ClientSession() as session:
        yield Stage(session, server)


async def test_ready_servers_tell_and_others_are_not_asked(stage: Stage, server: Server) -> None:
    stage.pod("a")
    stage.pod("loading", ready=False)
    stage.pod("leaving", deletionTimestamp="2026-01-01T00:00:00Z")
    assert stage.metrics.of(LLAMA) == [ServerLoad("a")], "nobody has been asked yet"
    await stage.metrics.ask(LLAMA)
    assert stage.metrics.of(LLAMA) == [ServerLoad("a", waiting_requests=3)]
    assert server.asked == 1


async def test_what_was_told_last_holds_for_a_while(stage: Stage, server: Server) -> None:
    stage.pod("a")
    await stage.metrics.ask(LLAMA)
    server.broken = True
    stage.now += STALE_SECONDS - 1
    await stage.metrics.ask(LLAMA)
    assert stage.metrics.of(LLAMA) == [ServerLoad("a", waiting_requests=3)]
    stage.now += 2
    assert stage.metrics.of(LLAMA) == [ServerLoad("a")]


async def test_a_pod_made_anew_under_its_old_name_has_not_told_anything(
    stage: Stage, server: Server
) -> None:
    stage.pod("a")
    await stage.metrics.ask(LLAMA)
    stage.pod("a", uid="another")
    assert stage.metrics.of(LLAMA) == [ServerLoad("a")]


@pytest.mark.parametrize(("target", "asked"), [("waitingRequests", 1), ("runningRequests", 0)])
async def test_servers_are_followed_only_where_the_target_is_theirs(
    stage: Stage, server: Server, target: str, asked: int
) -> None:
    snapshot = Snapshot()
    scaling = {"maxReplicas": 3, "target": {target: 4}}
    vllm = {"image": "vllm/vllm-openai:v0.33.0", "autoscaling": scaling}
    snapshot.put_pool(
        {
            "apiVersion": "modelrouter.dev/v1alpha1",
            "kind": "ModelPool",
            "metadata": {"name": "llama", "namespace": "ns", "uid": "u", "resourceVersion": "1"},
            "spec": {"model": "acme/llama", "vllm": vllm},
        }
    )
    stage.pod("a")
    following = asyncio.create_task(stage.metrics.follow(snapshot))
    async with asyncio.timeout(20):
        while server.asked < asked:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    following.cancel()
    assert server.asked == asked
