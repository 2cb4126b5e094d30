"""Everything that the operator watches, brought into memory and kept up to date."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import structlog

from modelrouter.api.manifests import Key
from modelrouter.api.operator_config import OperatorConfig
from modelrouter.controller.children import SELECTOR, Children, ChildStore
from modelrouter.controller.parents import KINDS, KopfThread
from modelrouter.controller.pods import PodStore
from modelrouter.controller.pool_children import POD_SELECTOR, PoolChildren
from modelrouter.controller.pool_children import SELECTOR as POOL_SELECTOR
from modelrouter.controller.references import References
from modelrouter.controller.snapshot import Snapshot
from modelrouter.controller.store import Object, key_of
from modelrouter.kube.client import KubeClient
from modelrouter.kube.errors import KubeError
from modelrouter.kube.resources import (
    MODEL_POOLS,
    MODEL_ROUTES,
    PODS,
    SCALED_OBJECTS,
    Resource,
)
from modelrouter.kube.watching import Change, Deleted, Synced, WatchHealth, watch_objects
from modelrouter.plan.naming import COMPONENT, ROUTER, ROUTER_COMPONENT

log = structlog.get_logger(__name__)

RELIST_SECONDS = 300.0
"""How often ModelRoutes and ModelPools are listed in full, besides being followed."""
_PODS = f"{COMPONENT}={ROUTER_COMPONENT},{ROUTER}"
_RETRY_SECONDS = 1.0


class ClusterView:
    """The cluster as far as the operator is concerned. Nothing here writes."""

    def __init__(self, client: KubeClient, config: OperatorConfig) -> None:
        self._client = client
        self._namespaces: Sequence[str | None] = config.namespaces or [None]
        self._config = config
        self.snapshot = Snapshot()
        self.children = Children()
        self.pods = PodStore()
        self.pool_children = PoolChildren(config.keda is not None)
        self.references = References(client, config, self.snapshot)
        self.watches: list[WatchHealth] = []
        self.synced = asyncio.Event()
        """Set once everything has been listed: before, nothing may be planned or deleted."""
        self._missing: set[tuple[str, str | None]] = set()
        self._relist = asyncio.Event()
        self._kopf: KopfThread | None = None
        self._follow_pools_soon: asyncio.Handle | None = None
        self.kopf_starts = 0
        """How often kopf was started: more than once if it ended by itself."""
        self.last_list = float("-inf")
        """When ModelRoutes and ModelPools were last listed in full, on the monotonic clock."""

    def health(self) -> dict[str, Any]:
        """For people who look at the probes."""
        return {
            "synced": self.synced.is_set(),
            "waitingFor": sorted(f"{kind} in {space or 'all'}" for kind, space in self._missing),
            "problems": [watch.problem for watch in self.watches if watch.problem],
            "kopfStarts": self.kopf_starts,
        }

    async def run(self) -> None:
        """Follow until cancelled."""
        self.snapshot.listeners.append(_PoolReferences(self))
        try:
            async with asyncio.TaskGroup() as tasks:
                for resource, store in self.children.stores.items():
                    take = self._child_changes(store, self._router_children_changed)
                    self._start(tasks, resource, SELECTOR, take)
                self._start(tasks, PODS, _PODS, self._pod_changes)
                for resource, store in self.pool_children.stores.items():
                    take = self._child_changes(store, self.snapshot.pool_objects_changed)
                    self._start(tasks, resource, POOL_SELECTOR, take, "pools'")
                self._start(tasks, PODS, POD_SELECTOR, self._server_pod_changes, "pools'")
                for namespace in self._namespaces:
                    self._missing |= {(kind, namespace) for kind in KINDS}
                tasks.create_task(self._follow_parents())
        finally:
            self.references.stop()
            if self._kopf is not None:
                await self._kopf.stop()

    def _start(
        self,
        tasks: asyncio.TaskGroup,
        resource: Resource,
        selector: str,
        take: Callable[[Change, str | None], None],
        whose: str = "",
    ) -> None:
        name = f"{whose} {resource.plural}".strip()
        for namespace in self._namespaces:
            health = WatchHealth(name)
            self.watches.append(health)
            # KEDA may be installed later; nothing else waits for that.
            if resource is not SCALED_OBJECTS:
                self._missing.add((name, namespace))
            tasks.create_task(self._watch(resource, namespace, selector, health, take))

    async def _watch(
        self,
        resource: Resource,
        namespace: str | None,
        selector: str,
        health: WatchHealth,
        take: Callable[[Change, str | None], None],
    ) -> None:
        async for change in watch_objects(
            self._client, resource, namespace, label_selector=selector, health=health
        ):
            take(change, namespace)
            if isinstance(change, Synced):
                self._arrived(health.resource, namespace)

    def _arrived(self, plural: str, namespace: str | None) -> None:
        self._missing.discard((plural, namespace))
        if not self._missing and not self.synced.is_set():
            log.info(
                "the cluster is known",
                routes=len(self.snapshot.routes),
                pools=len(self.snapshot.pools),
            )
            self.synced.set()

    def _child_changes(
        self, store: ChildStore, changed: Callable[[Iterable[Key]], None]
    ) -> Callable[[Change, str | None], None]:
        def take(change: Change, namespace: str | None) -> None:
            if isinstance(change, Synced):
                parents = store.replace(change.objects, namespace)
            elif isinstance(change, Deleted):
                parents = store.remove(change.object)
            else:
                parents = store.put(change.object)
            changed(parents)

        return take

    def _router_children_changed(self, routers: Iterable[Key]) -> None:
        for router in routers:
            self.snapshot.router_changed(router)

    def _server_pod_changes(self, change: Change, namespace: str | None) -> None:
        pods = self.pool_children.pods
        if isinstance(change, Synced):
            for pool in pods.replace(change.objects, namespace):
                for pod in pods.of(pool):
                    self.snapshot.server_pod_changed(key_of(pod), [pool])
        elif isinstance(change, Deleted):
            self.snapshot.server_pod_changed(key_of(change.object), pods.remove(change.object))
        elif pools := pods.put(change.object):
            self.snapshot.server_pod_changed(key_of(change.object), pools)

    def _pod_changes(self, change: Change, namespace: str | None) -> None:
        if isinstance(change, Synced):
            routers = self.pods.replace(list(change.objects), namespace)
        elif isinstance(change, Deleted):
            routers = self.pods.remove(change.object)
        else:
            routers = self.pods.put(change.object)
        for router in routers:
            self.snapshot.pods_changed(router)

    # ModelRoutes and ModelPools

    async def _follow_parents(self) -> None:
        while True:
            await self._until_done(self._list_parents)
            if self._kopf is None or not self._kopf.alive:
                # Only now: kopf looks once which kinds there are, and never again.
                self._start_kopf()
            try:
                async with asyncio.timeout(RELIST_SECONDS):
                    await self._relist.wait()
                    # A broken watch brings many objects anew: one list for all of them.
                    await asyncio.sleep(1.0)
            except TimeoutError:
                pass
            self._relist.clear()

    def _start_kopf(self) -> None:
        self.kopf_starts += 1
        self._kopf = KopfThread(
            self._client.connection,
            [namespace for namespace in self._namespaces if namespace],
            self._take_parent,
            self._relist.set,
        )
        self._kopf.start()

    async def _until_done(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                return await work()
            except KubeError as error:
                reason = str(error)
                if error.is_not_found:
                    reason = "the CustomResourceDefinitions are not installed (yet)"
                log.warning("ModelRoutes and ModelPools cannot be listed", reason=reason)
                await asyncio.sleep(max(_RETRY_SECONDS, error.retry_after or 0.0))

    async def _list_parents(self) -> None:
        for namespace in self._namespaces:
            # Pools first: a route that finds its pools is planned once.
            for resource, replace in (
                (MODEL_POOLS, self.snapshot.replace_pools),
                (MODEL_ROUTES, self.snapshot.replace_routes),
            ):
                listing = await self._client.list(resource, namespace)
                replace(list(listing.objects), namespace, int(listing.resource_version))
                self._arrived(resource.plural, namespace)
        self.last_list = time.monotonic()

    def _take_parent(self, plural: str, kind: str | None, obj: Object) -> None:
        if kind is None and time.monotonic() - self.last_list > 5.0:
            # kopf lists again: what vanished meanwhile it does not tell.
            self._relist.set()
        if plural == MODEL_ROUTES.plural:
            take = self.snapshot.remove_route if kind == "DELETED" else self.snapshot.put_route
        else:
            take = self.snapshot.remove_pool if kind == "DELETED" else self.snapshot.put_pool
        take(obj)

    def follow_pools_soon(self) -> None:
        """The pools changed; what they refer to is looked at once for all that came together."""
        if self._follow_pools_soon is None:
            loop = asyncio.get_running_loop()
            self._follow_pools_soon = loop.call_soon(self._follow_pools)

    def _follow_pools(self) -> None:
        self._follow_pools_soon = None
        self.references.follow()


class _PoolReferences:
    """Tells the view that pools may refer to something else."""

    def __init__(self, view: ClusterView) -> None:
        self._view = view

    def pool_changed(self, pool: Any) -> None:
        self._view.follow_pools_soon()

    def router_changed(self, router: Any) -> None:
        pass

    def route_changed(self, route: Any) -> None:
        pass

    def pods_changed(self, router: Any) -> None:
        pass

    def pool_objects_changed(self, pool: Any) -> None:
        pass

    def server_pod_changed(self, pod: Any) -> None:
        pass
