"""Statuses: what is known of each route and pool, written when it differs from what is there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog

from modelrouter.api.canary import Canary
from modelrouter.api.canary_status import CanaryStatus
from modelrouter.api.manifests import Key
from modelrouter.api.metadata import API_VERSION
from modelrouter.controller.adapters import AdapterLoader
from modelrouter.controller.applying import Writer
from modelrouter.controller.drift import differs
from modelrouter.controller.events import EventPoster, Regarding
from modelrouter.controller.following import ClusterView
from modelrouter.controller.programmed import AgentPolls
from modelrouter.controller.routerstate import RouterState
from modelrouter.controller.server_facts import server_facts
from modelrouter.controller.snapshot import Pool, Route
from modelrouter.controller.store import Object
from modelrouter.kube.errors import KubeError
from modelrouter.kube.resources import MODEL_POOLS, MODEL_ROUTES, Resource
from modelrouter.plan.facts import NamespaceFacts, RouterFacts, Subject
from modelrouter.plan.naming import OPERATOR
from modelrouter.plan.servers.facts import Servers
from modelrouter.plan.servers.verdict import on_the_way
from modelrouter.plan.shards import route_key
from modelrouter.plan.statuses import (
    Event,
    PoolFacts,
    RouteFacts,
    pool_status,
    route_status,
    transitions,
)
from modelrouter.plan.verdicts import ACCEPTED, PROGRAMMED, READY, RESOLVED_REFS

ROUTE_CONDITIONS = (ACCEPTED, RESOLVED_REFS, PROGRAMMED, READY)
_PATIENCE_SECONDS = 5.0
"""How long a new leader waits for what its watches and questions should bring in a moment."""
_LOOK_AGAIN_SECONDS = 0.2


log = structlog.get_logger(__name__)


class _Take(Protocol):
    def __call__(self, obj: Object, *, own: bool) -> None: ...


class Reporter:
    """Writes the statuses. Each method returns the seconds after which to look again, or None."""

    def __init__(
        self,
        view: ClusterView,
        states: Mapping[Key, RouterState],
        polls: AgentPolls,
        writer: Writer,
        events: EventPoster,
        pool_problems: Mapping[Key, str],
        adapters: AdapterLoader,
        scaling_status: Callable[[Key], Mapping[str, Any] | None],
    ) -> None:
        self._view = view
        self._pool_problems = pool_problems
        self._adapters = adapters
        self._scaling_status = scaling_status
        self._states = states
        self._polls = polls
        self._writer = writer
        self._events = events
        self._began = time.monotonic()
        self._writing: dict[Key, asyncio.Lock] = {}

    async def report_route(self, key: Key) -> float | None:
        """Bring a route's status up to date; what it says of its canary stays as it is."""
        async with self._alone(key):
            return await self._report_route(key)

    async def report_canary(self, key: Key, spec: Canary, canary: CanaryStatus) -> None:
        """Write how far a route's canary got; the rest of its status stays as it is.

        Nothing is written where the route has another canary by now than `spec`.
        """
        async with self._alone(key):
            route = self._view.snapshot.routes.get(key)
            if route is None or route.model is None or route.model.spec.canary is not spec:
                return
            status = {**own_status(route.live.get("status") or {}), "canary": canary.document()}
            await self._write(MODEL_ROUTES, route, status, self._view.snapshot.put_route)

    async def _report_route(self, key: Key) -> float | None:
        route = self._view.snapshot.routes.get(key)
        if route is None:
            return None
        namespace, name = key
        state = self._states.get((namespace, route.router))
        known = self._view.references.facts(namespace)
        if known is None:
            return _LOOK_AGAIN_SECONDS
        if route.model is None:
            facts = RouteFacts(_subject(MODEL_ROUTES, route), None, None)
        else:
            plan = state.plan if state is not None else None
            if state is None or plan is None or plan.models.get(name) is not route.model:
                return None  # The router is marked too, and marks this route once it is planned.
            pods = self._view.pods.of(state.router)
            if not self._polls.settled(pods):
                return _LOOK_AGAIN_SECONDS
            if self._is_early() and not self._secrets_known(route, known):
                return _LOOK_AGAIN_SECONDS
            programming = state.programming(name, pods, self._polls)
            if programming.programmed:
                state.awaiting.discard(name)
                wait = state.unseen_for(route.model.spec.pools, pods, self._polls)
            else:
                state.awaiting.add(name)
                wait = state.grace(route_key(name))
            if wait > 0 and name in plan.planned.routes and not state.problem:
                return wait
            facts = RouteFacts(
                subject=_subject(MODEL_ROUTES, route),
                route=route.model,
                outcome=plan.planned.outcomes.get(name),
                programming=programming,
                router=state.facts(pods, self._polls),
                pools=self._pools_named(route),
                known=known,
                waking=self.waking(route),
            )
        old = route.live.get("status")
        status = route_status(facts, old, _now())
        if route.canary is not None:
            status["canary"] = route.canary.document()
        elif route.model is None and old and "canary" in old:
            status["canary"] = old["canary"]  # Whoever can read the route again goes on with it.
        await self._write(MODEL_ROUTES, route, status, self._view.snapshot.put_route)
        return None

    async def report_pool(self, key: Key) -> float | None:
        """Bring a pool's status up to date."""
        pool = self._view.snapshot.pools.get(key)
        if pool is None:
            return None
        known = self._view.references.facts(key[0])
        if known is None:
            return _LOOK_AGAIN_SECONDS
        routers: dict[str, RouterFacts] = {}
        for router in sorted(self._view.snapshot.routers_of_pool(key)):
            pods, state = self._view.pods.of(router), self._states.get(router)
            if state is None:
                if self._is_early():
                    return _LOOK_AGAIN_SECONDS
                continue
            if not self._polls.settled(pods):
                return _LOOK_AGAIN_SECONDS  # A pod that is new tells in a moment what it sees.
            wait = state.unseen_for([key[1]], pods, self._polls)
            if wait > 0 and not state.problem:
                return wait
            routers[router[1]] = state.facts(pods, self._polls)
        if self._is_early() and not self._secret_known(pool, known):
            return _LOOK_AGAIN_SECONDS
        if self._is_early() and not self._adapters.settled(key):
            return _LOOK_AGAIN_SECONDS
        now = datetime.now(UTC)
        facts = PoolFacts(
            _subject(MODEL_POOLS, pool),
            pool.model,
            known,
            routers,
            self._servers(pool, now),
            self._scaling_status(key),
        )
        old = pool.live.get("status")
        await self._write(
            MODEL_POOLS, pool, pool_status(facts, old, _now()), self._view.snapshot.put_pool
        )
        return None

    def tell_of_route(self, key: Key, event: Event) -> None:
        """Post an Event about a route, beside those that its conditions bring."""
        route = self._view.snapshot.routes.get(key)
        if route is not None:
            about = Regarding(MODEL_ROUTES.kind, *key, route.uid, str(route.version))
            self._events.post(about, event.type, event.reason, event.message)

    def tell(self, key: Key, event: Event) -> None:
        """Post an Event about a pool, beside those that its status brings."""
        pool = self._view.snapshot.pools.get(key)
        if pool is not None:
            about = Regarding(MODEL_POOLS.kind, *key, pool.uid, str(pool.version))
            self._events.post(about, event.type, event.reason, event.message)

    def _servers(self, pool: Pool, now: datetime) -> Servers:
        vllm = pool.model.spec.vllm if pool.model is not None else None
        if vllm is None:
            return Servers()
        return server_facts(
            pool.key,
            vllm,
            self._view.pool_children,
            now,
            self._pool_problems.get(pool.key, ""),
            self._adapters.errors(pool.key),
        )

    @asynccontextmanager
    async def _alone(self, key: Key) -> AsyncIterator[None]:
        """Two write the status of a route, and each writes all of it: one after the other."""
        lock = self._writing.setdefault(key, asyncio.Lock())
        async with lock:
            yield
        if key not in self._view.snapshot.routes:
            self._writing.pop(key, None)

    def waking(self, route: Route) -> set[str]:
        """Of the pools of a route, those that a request starts."""
        found, now = set(), datetime.now(UTC)
        for name in route.model.spec.model_pools if route.model is not None else ():
            pool = self._view.snapshot.pools.get((route.key[0], name))
            vllm = pool.model.spec.vllm if pool is not None and pool.model is not None else None
            if pool is None or vllm is None or vllm.autoscaling is None:
                continue
            if vllm.autoscaling.from_zero and on_the_way(self._servers(pool, now)):
                found.add(name)
        return found

    def _is_early(self) -> bool:
        return time.monotonic() - self._began < _PATIENCE_SECONDS

    def _pools_named(self, route: Route) -> dict[str, Any]:
        assert route.model is not None
        pools = self._view.snapshot.pools
        found = {name: pools.get((route.key[0], name)) for name in route.model.spec.model_pools}
        return {name: pool.model for name, pool in found.items() if pool is not None}

    def _secrets_known(self, route: Route, known: NamespaceFacts) -> bool:
        assert route.model is not None
        names = route.model.spec.model_pools
        pools = (self._view.snapshot.pools.get((route.key[0], name)) for name in names)
        return all(pool is None or self._secret_known(pool, known) for pool in pools)

    def _secret_known(self, pool: Pool, known: NamespaceFacts) -> bool:
        secrets = self._view.snapshot.by_secret.groups(pool.key)
        return all(name in known.secrets for _, name in secrets)

    async def _write(
        self,
        resource: Resource,
        about: Route | Pool,
        status: dict[str, Any],
        take: _Take,
    ) -> None:
        if not differs({"status": status}, about.live, OPERATOR, "status"):
            return
        namespace, name = about.key
        wanted = {
            "apiVersion": API_VERSION,
            "kind": resource.kind,
            # The uid keeps a status off an object that was made anew under the same name.
            "metadata": {"name": name, "namespace": namespace, "uid": about.uid},
            "status": status,
        }
        try:
            answer = await self._writer.apply_status(resource, wanted)
        except KubeError as error:
            if error.is_not_found or (error.is_conflict and "uid" in error.message.lower()):
                return  # It is gone; its watch says so in a moment.
            raise
        take(answer, own=True)
        reasons = {c["type"]: c["reason"] for c in status.get("conditions", ())}
        log.debug("status", kind=resource.kind, object=f"{namespace}/{name}", **reasons)
        regarding = Regarding(
            resource.kind, namespace, name, about.uid, answer["metadata"]["resourceVersion"]
        )
        for event in transitions(about.live.get("status"), status):
            self._events.post(regarding, event.type, event.reason, event.message)


def _subject(resource: Resource, about: Route | Pool) -> Subject:
    return Subject(resource.kind, *about.key, about.generation, about.problems)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def own_status(live: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a route's status that is ours, as it was last applied."""
    own = {k: live[k] for k in ("observedGeneration", "url", "traffic") if k in live}
    if "conditions" in live:
        own["conditions"] = [c for c in live["conditions"] if c.get("type") in ROUTE_CONDITIONS]
    return own
