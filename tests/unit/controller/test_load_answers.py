"""What KEDA is told of the load of a pool. Agents and servers here are real HTTP servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from modelrouter.api.operator_config import Keda, OperatorConfig
from modelrouter.controller.following import ClusterView
from modelrouter.controller.load_answers import LoadAnswers
from modelrouter.plan.vllm.naming import POOL

LLAMA = ("ns", "llama")


class Pods:
    """A router pod and a model server, both at this address."""

    def __init__(self) -> None:
        self.pools: dict[str, Any] = {}
        self.queue = 0
        self.polls = 0
        self.changed = asyncio.Event()
        self.digest = 0
        self.port = 0

    def tell(self, **pools: Any) -> None:
        self.pools, self.digest = pools, self.digest + 1
        self.changed.set()
        self.changed = asyncio.Event()

    async def configz(self, request: web.Request) -> web.Response:
        self.polls += 1
        if request.query.get("pools") == str(self.digest):
            await self.changed.wait()
        return web.json_response(
            {"version": "v1", "pools": self.pools, "poolsDigest": str(self.digest)}
        )

    async def metrics(self, _: web.Request) -> web.Response:
        return web.Response(text=f"vllm:num_requests_waiting {self.queue}\n")


@pytest.fixture
async def pods() -> AsyncIterator[Pods]:
    pods = Pods()
    app = web.Application()
    app.router.add_get("/configz", pods.configz)
    app.router.add_get("/metrics", pods.metrics)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    pods.port = runner.addresses[0][1]
    yield pods
    await runner.cleanup()


def pod(name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name, "namespace": "ns", "uid": name, "resourceVersion": "1", "labels": labels,
        },
        "status": {
            "podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}],
        },
    }  # fmt: skip


def resource(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "ns", "uid": name, "resourceVersion": "1"}
    return {
        "apiVersion": "modelrouter.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec,
    }  # fmt: skip


def cluster(engine: str = "KEDA", **target: int) -> ClusterView:
    """A route to a pool, with a router pod and a model server."""
    config = OperatorConfig(keda=Keda(url="http://operator:8082"))
    view = ClusterView(None, config)  # type: ignore[arg-type]
    scaling = {"engine": engine, "minReplicas": 0, "maxReplicas": 3, "target": target}
    vllm = {"image": "vllm/vllm-openai:v0.33.0", "autoscaling": scaling}
    view.snapshot.put_pool(resource("ModelPool", "llama", {"model": "acme/llama", "vllm": vllm}))
    view.snapshot.put_route(resource("ModelRoute", "chat", {"models": ["a"], "pools": ["llama"]}))
    view.pods.put(pod("r-1", {"modelrouter.dev/router": "default"}))
    view.pool_children.pods.put(pod("p-1", {POOL: "llama"}))
    view.synced.set()
    return view


class Asked:
    def __init__(self, answers: LoadAnswers) -> None:
        self._answers = answers

    async def until(self, status: int, body: dict[str, float]) -> None:
        async with asyncio.timeout(20):
            while (told := await self._answers.answer(LLAMA)) != (status, body):
                await asyncio.sleep(0.02)
        assert told == (status, body)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_nothing_is_told_before_the_routers_have_told_it(
    pods: Pods, session: aiohttp.ClientSession
) -> None:
    answers = LoadAnswers(cluster(runningRequests=4), session, pods.port, pods.port)
    status, body = await answers.answer(LLAMA)
    assert (status, body["missing"]) == (503, ("router pod r-1",))
    running = asyncio.create_task(answers.run())
    pods.tell(llama={"ready": 1, "total": 1, "inFlight": 3, "waiting": 2})
    await Asked(answers).until(200, {"requests": 5, "runningRequests": 5})
    running.cancel()
    await asyncio.wait([running])


async def test_the_queue_of_the_servers_is_asked_for_when_keda_asks(
    pods: Pods, session: aiohttp.ClientSession
) -> None:
    answers = LoadAnswers(cluster(waitingRequests=4), session, pods.port, pods.port)
    running = asyncio.create_task(answers.run())
    pods.tell(llama={"ready": 1, "total": 1, "inFlight": 3, "waiting": 0})
    pods.queue = 7
    await Asked(answers).until(200, {"requests": 3, "waitingRequests": 7})
    pods.queue = 2
    await Asked(answers).until(200, {"requests": 3, "waitingRequests": 2})
    running.cancel()
    await asyncio.wait([running])


async def test_without_a_pool_for_keda_nobody_is_asked(
    pods: Pods, session: aiohttp.ClientSession
) -> None:
    answers = LoadAnswers(cluster("BuiltIn", runningRequests=4), session, pods.port, pods.port)
    running = asyncio.create_task(answers.run())
    status, body = await answers.answer(LLAMA)
    assert status == 404
    assert "no ModelPool ns/llama with spec.vllm.autoscaling.engine KEDA" in body["error"]
    await asyncio.sleep(0.3)
    assert pods.polls == 0
    running.cancel()
    await asyncio.wait([running])
