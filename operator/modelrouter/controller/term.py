"""What the leader does: plan and write routers and pools, ask their pods, keep statuses true.

A term begins with an empty memory and a full look at the cluster, so a new leader needs nothing
from the one before, and nothing that a term got wrong outlives it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable
from datetime import UTC, datetime

import aiohttp
import structlog

from modelrouter.api.manifests import Key
from modelrouter.api.operator_config import OperatorConfig
from modelrouter.controller.adapter_calls import AdapterCalls
from modelrouter.controller.adapters import AdapterLoader
from modelrouter.controller.analysing import Analyst
from modelrouter.controller.applying import Writer
from modelrouter.controller.canaries import Canaries
from modelrouter.controller.canary_hooks import HookCalls
from modelrouter.controller.candidates import Candidates
from modelrouter.controller.events import EventPoster
from modelrouter.controller.following import ClusterView
from modelrouter.controller.leading import NotLeadingError
from modelrouter.controller.loads import Loads
from modelrouter.controller.measurements import RouterFigures
from modelrouter.controller.metrics import OperatorMetrics
from modelrouter.controller.planning import Planner
from modelrouter.controller.pool_children import pool_of
from modelrouter.controller.pool_objects import PoolObjects, PoolProblemError
from modelrouter.controller.programmed import AgentPolls
from modelrouter.controller.prometheus import Prometheus
from modelrouter.controller.queue import WorkQueue
from modelrouter.controller.reconciling import RouterObjects, problem_text
from modelrouter.controller.reporting import Reporter
from modelrouter.controller.routerstate import RouterState
from modelrouter.controller.scaling import Scaler
from modelrouter.controller.server_facts import tells_time
from modelrouter.controller.server_metrics import ServerMetrics
from modelrouter.controller.store import key_of
from modelrouter.kube.errors import KubeError
from modelrouter.plan.transitions import Event
from modelrouter.plan.vllm.command import adapter_path

log = structlog.get_logger(__name__)

ROUTER_WORKERS = 8
POOL_WORKERS = 8
ADAPTER_WORKERS = 64
"""Adapters load for seconds to minutes, and nothing here has to work for that."""
STATUS_WORKERS = 24
CANARY_WORKERS = 24
LOOK_AGAIN_SECONDS = 30.0
"""When what keeps a pool from being as it should is looked at again."""
CLOCK_SECONDS = 10.0
"""How late a status may tell that something has lasted for another step."""
FEW = 50
"""Somebody waits for the statuses of a change that concerns no more; many can wait for them."""


class Term:
    """One leadership, from the first look to its end."""

    def __init__(
        self,
        view: ClusterView,
        config: OperatorConfig,
        writer: Writer,
        polls: AgentPolls,
        calls: AdapterCalls,
        servers: ServerMetrics,
        session: aiohttp.ClientSession,
        metrics: OperatorMetrics,
        instance: str,
    ) -> None:
        self._view = view
        self._config = config
        self._writer = writer
        self._metrics = metrics
        self._polls = polls
        self._planner = Planner(view.snapshot)
        self._states: dict[Key, RouterState] = {}
        self._events = EventPoster(
            writer.create_event, instance, lambda result: metrics.events.labels(result).inc()
        )
        self._servers = servers
        self.scaler = Scaler(
            view.snapshot,
            Loads(view.snapshot, view.pods, polls, servers.of),
            view.pool_children.replicas,
            self._scaling_turned,
        )
        self._pool_objects = PoolObjects(view.pool_children, writer, config, self.scaler)
        self._pool_problems: dict[Key, str] = {}
        self._told_time: set[Key] = set()
        self._loader = AdapterLoader(
            view.pool_children.pods,
            self._adapters_wanted,
            pool_of,
            writer,
            calls,
            self.pool_changed,
        )
        self._reporter = Reporter(
            view,
            self._states,
            polls,
            writer,
            self._events,
            self._pool_problems,
            self._loader,
            self.scaler.status,
        )
        self._canaries = Canaries(
            view.snapshot,
            Analyst(view.pods, RouterFigures(session), Prometheus(session)),
            Candidates(view.snapshot, view.pods, polls, self._reporter.waking),
            self._reporter,
            HookCalls(session),
            lambda route: self._canary_turns.add(route, first=True),
        )
        self._canary_turns: WorkQueue[Key] = WorkQueue(
            "canaries",
            self._canaries.work_on,
            workers=CANARY_WORKERS,
            watcher=metrics,
            retryable=_is_retryable,
        )
        self._routers: WorkQueue[Key] = WorkQueue(
            "routers",
            self._reconcile,
            workers=ROUTER_WORKERS,
            watcher=metrics,
            retryable=_is_retryable,
        )
        self._pools: WorkQueue[Key] = WorkQueue(
            "pools",
            self._bring_pool_about,
            workers=POOL_WORKERS,
            watcher=metrics,
            retryable=_is_retryable,
        )
        self._adapters: WorkQueue[Key] = WorkQueue(
            "adapters",
            self._loader.work_on,
            workers=ADAPTER_WORKERS,
            watcher=metrics,
            retryable=_is_retryable,
        )
        self._statuses: WorkQueue[tuple[str, Key]] = WorkQueue(
            "statuses",
            self._report,
            workers=STATUS_WORKERS,
            watcher=metrics,
            retryable=_is_retryable,
        )

    async def run(self) -> None:
        """Lead until cancelled."""
        await self._view.synced.wait()
        gauges = [
            self._metrics.observe_gauge(
                "modelrouter_queue_depth",
                "Keys that wait for a worker, are being worked on, or wait for their time.",
                ["queue", "state"],
                self._depths,
            ),
            self._metrics.observe_gauge(
                "modelrouter_programmed_lag_seconds",
                "Age of the oldest change that some ready pod of the router does not work by.",
                ["namespace", "router"],
                self._lags,
            ),
        ]
        gauges += self.scaler.observed_by(self._metrics)
        self._metrics.registry.register(self._canaries.metrics)
        gauges.append(self._canaries.metrics)
        self._metrics.leader.set(1)
        self._view.snapshot.listeners.append(self)
        try:
            self._view.snapshot.announce_all(self)
            for router in self._view.children.routers():
                self.router_changed(router)
            for pool in self._view.pool_children.pools():
                self.pool_objects_changed(pool)
            for router in {pod.router for pod in self._view.pods.all()}:
                self.pods_changed(router)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._routers.run())
                tasks.create_task(self._pools.run())
                tasks.create_task(self._adapters.run())
                tasks.create_task(self.scaler.run())
                tasks.create_task(self._follow_the_clock())
                tasks.create_task(self._servers.follow(self._view.snapshot))
                tasks.create_task(self._statuses.run())
                tasks.create_task(self._canary_turns.run())
                tasks.create_task(self._events.run())
        except* NotLeadingError:
            log.warning("a write came too late: this operator does not lead any more")
        finally:
            self._metrics.leader.set(0)
            self._view.snapshot.listeners.remove(self)
            for gauge in gauges:
                self._metrics.forget_gauge(gauge)
            await self._canaries.stop()
            await self._polls.stop()

    # What changed

    def router_changed(self, router: Key) -> None:
        """The configuration or the children of a router may have to change."""
        self._routers.add(router)

    def route_changed(self, route: Key) -> None:
        """The status of a route, or its canary, may have to change; or it is gone."""
        self._statuses.add(("route", route))
        if self._canaries.concerns(route):
            self._canary_turns.add(route)

    def pool_changed(self, pool: Key) -> None:
        """The status of a pool may have to change."""
        self._statuses.add(("pool", pool))

    def pool_objects_changed(self, pool: Key) -> None:
        """The objects of a pool, and the adapters of its pods, may have to change."""
        self._pools.add(pool)
        for pod in self._view.pool_children.pods.of(pool):
            self._adapters.add(key_of(pod))

    def server_pod_changed(self, pod: Key) -> None:
        """A pod of a pool may have to load other adapters."""
        self._adapters.add(pod)

    def pods_changed(self, router: Key) -> None:
        """A router has other pods, or others of them are ready."""
        self._polls.follow(router, self._view.pods.of(router))
        self._all_statuses_of(router)

    def agents_answered(self, router: Key, news: bool, pools: Iterable[str]) -> None:
        """Pods of a router work by another version, or see other endpoints."""
        self._view.snapshot.pools_observed(router[0], pools)
        state = self._states.get(router)
        if not news or state is None:
            return
        if state.note_answers(self._view.pods.of(router), self._polls, self._metrics):
            self._routes_changed(router[0], list(state.awaiting))
        else:
            self._all_statuses_of(router)

    def load_changed(self, router: Key, pools: Iterable[str]) -> None:
        """A router pod tells another load of pools."""
        self.scaler.load_changed(router, pools)

    def _scaling_turned(self, pool: Key, event: Event | None) -> None:
        self._pools.add(pool)
        self.pool_changed(pool)
        if event is not None:
            self._reporter.tell(pool, event)

    def _routes_changed(self, namespace: str, routes: Collection[str]) -> None:
        for route in routes:
            self._statuses.add(("route", (namespace, route)), first=len(routes) <= FEW)

    def _all_statuses_of(self, router: Key) -> None:
        pools: set[Key] = set()
        for route in self._view.snapshot.by_router.of(router):
            self._statuses.add(("route", route))
            pools |= self._view.snapshot.by_pool.groups(route)
        for pool in pools:
            self._statuses.add(("pool", pool))

    # Work

    async def _reconcile(self, router: Key) -> None:
        if not self._view.snapshot.by_router.of(router):
            self._states.pop(router, None)
            self._planner.forget(router)
            objects = RouterObjects(router, self._view.children, self._writer, self._config)
            await objects.take_away()
            return
        state = self._states.get(router)
        if state is None:
            objects = RouterObjects(router, self._view.children, self._writer, self._config)
            state = self._states[router] = RouterState(router, objects)
        facts = self._view.references.facts(router[0])
        if facts is None:
            return  # The Services' watch marks the router as soon as it knows them.
        plan = self._planner.plan(router, facts.services)
        changed: set[str] = set()

        def planned() -> None:
            changed.update(state.take(plan))

        try:
            await state.objects.bring_about(plan.planned, planned)
        except KubeError as error:
            self._note_problem(state, problem_text(error))
            raise
        else:
            self._note_problem(state, "")
            # Pods may have acknowledged it before the API server said that it is written.
            state.note_answers(self._view.pods.of(router), self._polls, self._metrics)
        finally:
            self._routes_changed(router[0], changed)

    def _note_problem(self, state: RouterState, problem: str) -> None:
        if state.problem != problem:
            state.problem = problem
            self._all_statuses_of(state.router)

    async def _follow_the_clock(self) -> None:
        """How long pods have been loading is told, too: in steps, so this writes rarely."""
        children = self._view.pool_children
        while True:
            await asyncio.sleep(CLOCK_SECONDS)
            now = datetime.now(UTC)
            self._told_time, before = set(), self._told_time
            for pool in children.pods.parents():
                if tells_time(pool, children, now):
                    self._told_time.add(pool)
            for pool in self._told_time | before:
                self.pool_changed(pool)

    async def _bring_pool_about(self, key: Key) -> float | None:
        pool = self._view.snapshot.pools.get(key)
        if pool is None:
            self._pool_problems.pop(key, None)  # Its objects are collected with it.
            return None
        try:
            await self._pool_objects.bring_about(pool)
        except KubeError as error:
            self._note_pool_problem(key, problem_text(error))
            raise
        except PoolProblemError as error:
            self._note_pool_problem(key, str(error))
            return LOOK_AGAIN_SECONDS
        self._note_pool_problem(key, "")
        return None

    def _note_pool_problem(self, pool: Key, problem: str) -> None:
        if self._pool_problems.get(pool, "") != problem:
            self._pool_problems[pool] = problem
            self.pool_changed(pool)

    def _adapters_wanted(self, key: Key) -> dict[str, str] | None:
        pool = self._view.snapshot.pools.get(key)
        vllm = pool.model.spec.vllm if pool is not None and pool.model is not None else None
        if vllm is None:
            return None
        return {adapter.name: adapter_path(adapter) for adapter in vllm.lora_adapters}

    async def _report(self, key: tuple[str, Key]) -> float | None:
        kind, resource = key
        if kind == "route":
            return await self._reporter.report_route(resource)
        return await self._reporter.report_pool(resource)

    def _depths(self) -> dict[tuple[str, ...], float]:
        return {
            (queue.name, state): count
            for queue in (
                self._routers,
                self._pools,
                self._adapters,
                self._statuses,
                self._canary_turns,
            )
            for state, count in queue.depth.items()
        }

    def _lags(self) -> dict[tuple[str, ...], float]:
        now = time.monotonic()
        return {
            router: state.lag(self._view.pods.of(router), self._polls, now)
            for router, state in self._states.items()
        }


def _is_retryable(error: Exception) -> bool:
    return not isinstance(error, NotLeadingError)


def make_session() -> aiohttp.ClientSession:
    """For questions to router pods: one open connection to each."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        # Hooks are anybody's servers: what one sets is sent to nobody.
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=True,
    )
