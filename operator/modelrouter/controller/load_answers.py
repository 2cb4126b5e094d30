"""`/scale/NAMESPACE/POOL`: the load of a pool, for KEDA.

KEDA asks by way of the operator's Service, and so any replica, whether it leads or not. Each of
them therefore follows the routers of pools with `engine: KEDA` by itself: an answer never depends
on who leads, nor on a successor's having seen enough. Without such pools nobody is asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import aiohttp

from modelrouter.api.autoscaling import Autoscaling, ScalingEngine
from modelrouter.api.manifests import Key
from modelrouter.api.pool_name import pool_of
from modelrouter.controller.following import ClusterView
from modelrouter.controller.loads import Loads, autoscaling_of
from modelrouter.controller.programmed import AgentPolls
from modelrouter.controller.scaling import PULL_SECONDS
from modelrouter.controller.server_metrics import ServerMetrics
from modelrouter.plan.naming import ADMIN_PORT
from modelrouter.plan.scaling.answering import LoadMemory, answer, remember
from modelrouter.plan.scaling.load import Load
from modelrouter.plan.vllm.naming import PORT
from modelrouter.plan.vllm.times import startup_seconds

TICK_SECONDS = 1.0


class LoadAnswers:
    """Follows the load of pools that KEDA scales, and tells it."""

    def __init__(
        self,
        view: ClusterView,
        session: aiohttp.ClientSession,
        port: int = ADMIN_PORT,
        server_port: int = PORT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._view = view
        self._clock = clock
        self._polls = AgentPolls(session, _ignore, self._load_changed, port)
        self._servers = ServerMetrics(session, view.pool_children.pods, server_port)
        self._loads = Loads(view.snapshot, view.pods, self._polls, self._servers.of)
        self._memories: dict[Key, LoadMemory] = {}
        self._followed: set[Key] = set()

    async def run(self) -> None:
        """Follow until cancelled."""
        await self._view.synced.wait()
        try:
            while True:
                self._follow()
                await asyncio.sleep(TICK_SECONDS)
        finally:
            await self._polls.stop()

    async def answer(self, pool: Key) -> tuple[int, Mapping[str, Any]]:
        """The status and body of the answer about a pool."""
        name = f"ModelPool {pool[0]}/{pool[1]}"
        if not self._view.synced.is_set():
            return 503, {"error": "the cluster is not known yet"}
        spec = self._spec(pool)
        if spec is None:
            return 404, {"error": f"there is no {name} with spec.vllm.autoscaling.engine KEDA"}
        if spec.target.metric != "running_requests":
            await self._servers.ask(pool)
        load = self._look_at(pool, spec)
        if not load.complete:
            # KEDA leaves a pool alone whose load it cannot learn.
            return 503, {"error": f"the load of {name} is not known", "missing": load.missing}
        return 200, answer(self._memories[pool], spec.target.metric, load)

    def _follow(self) -> None:
        routers: set[Key] = set()
        pools = [pool for pool in self._view.snapshot.pools if self._spec(pool) is not None]
        for pool in pools:
            routers |= self._view.snapshot.routers_of_pool(pool)
        for router in routers | self._followed:
            self._polls.follow(router, self._view.pods.of(router) if router in routers else ())
        self._followed = routers
        for pool in self._memories.keys() - set(pools):
            del self._memories[pool]
        for pool in pools:
            spec = self._spec(pool)
            if spec is not None:
                self._look_at(pool, spec)

    def _load_changed(self, router: Key, pools: Iterable[str]) -> None:
        for name in {pool_of(name) for name in pools}:
            pool = (router[0], name)
            spec = self._spec(pool)
            if spec is not None:
                self._look_at(pool, spec)

    def _look_at(self, pool: Key, spec: Autoscaling) -> Load:
        load = self._loads.of(pool, spec)
        model = self._view.snapshot.pools[pool].model
        vllm = model.spec.vllm if model is not None else None
        startup = startup_seconds(vllm) + PULL_SECONDS if vllm is not None else 0
        before = self._memories.get(pool, LoadMemory())
        self._memories[pool] = remember(before, load, self._clock(), startup)
        return load

    def _spec(self, pool: Key) -> Autoscaling | None:
        spec = autoscaling_of(self._view.snapshot, pool)
        return spec if spec is not None and spec.engine is ScalingEngine.KEDA else None


def _ignore(router: Key, news: bool, pools: Iterable[str]) -> None:
    """Versions and endpoints are the leader's business."""
