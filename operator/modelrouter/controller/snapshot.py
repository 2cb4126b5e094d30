"""What the operator knows of the cluster, in memory, and who is told when something changes.

Everything here comes from the API server and can be thrown away; nothing here writes. A change
marks keys, it does not say what to do: the workers look at the snapshot as it is when they run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from modelrouter.api.manifests import Key
from modelrouter.api.pool import ModelPool
from modelrouter.api.pool_name import pool_of
from modelrouter.api.route import ModelRoute
from modelrouter.controller.index import Index
from modelrouter.controller.resources import Resource, read_resource
from modelrouter.controller.store import Object, key_of, version_of
from modelrouter.plan.pools import service_of

Route = Resource[ModelRoute]
Pool = Resource[ModelPool]

_MOST_GRAVES = 10_000


class Listener(Protocol):
    """Who works on what changed. Each call may be one too many, never one too few."""

    def router_changed(self, router: Key) -> None:
        """The configuration or the children of a router may have to change."""

    def route_changed(self, route: Key) -> None:
        """The status of a route, or its canary, may have to change; or it is gone."""

    def pool_changed(self, pool: Key) -> None:
        """The status of a pool may have to change."""

    def pods_changed(self, router: Key) -> None:
        """A router has other pods, or others of them are ready."""

    def pool_objects_changed(self, pool: Key) -> None:
        """The objects of a pool may have to change."""

    def server_pod_changed(self, pod: Key) -> None:
        """A pod of a pool may have to load other adapters."""


@dataclass(slots=True)
class Snapshot:
    """ModelRoutes and ModelPools, and how they refer to each other."""

    routes: dict[Key, Route] = field(default_factory=dict)
    pools: dict[Key, Pool] = field(default_factory=dict)
    by_router: Index = field(default_factory=Index)
    """Routes by the router that serves them."""
    by_pool: Index = field(default_factory=Index)
    """Routes by the pools that they name, there or not."""
    by_secret: Index = field(default_factory=Index)
    """Pools by the Secret that holds their key."""
    by_service: Index = field(default_factory=Index)
    """Pools by the Service whose endpoints they are."""
    listeners: list[Listener] = field(default_factory=list)
    _graves: dict[str, int] = field(default_factory=dict)

    def put_route(self, obj: Object, *, own: bool = False) -> None:
        """A ModelRoute was seen. `own`: in the answer to our own write of its status."""
        key = key_of(obj)
        known = self.routes.get(key)
        if self._is_old(obj, known):
            return
        route = read_resource(obj, ModelRoute, known)
        self.routes[key] = route
        if known is not None and known.same_spec(route):
            if not known.same_split(route):
                self._routers_changed(self.by_router.groups(key))
            if own:
                return
        else:
            before = self.by_router.groups(key)
            pools = route.model.spec.model_pools if route.model else []
            self.by_router.put(key, [(key[0], route.router)])
            self.by_pool.put(key, [(key[0], name) for name in pools])
            self._routers_changed(before | self.by_router.groups(key))
            self._pools_changed(self._pools_named(known) | self._pools_named(route))
        self._routes_changed([key])

    def remove_route(self, obj: Object) -> None:
        """A ModelRoute is gone."""
        key = key_of(obj)
        self._bury(obj)
        route = self.routes.get(key)
        if route is None or route.version > version_of(obj):
            return
        del self.routes[key]
        routers = self.by_router.groups(key)
        self.by_router.put(key, ())
        self.by_pool.put(key, ())
        self._routers_changed(routers)
        self._pools_changed(self._pools_named(route))
        self._routes_changed([key])

    def put_pool(self, obj: Object, *, own: bool = False) -> None:
        """A ModelPool was seen. `own`: in the answer to our own write of its status."""
        key = key_of(obj)
        known = self.pools.get(key)
        if self._is_old(obj, known):
            return
        pool = read_resource(obj, ModelPool, known)
        self.pools[key] = pool
        if known is not None and known.same_spec(pool):
            if own:
                return
        else:
            spec = pool.model.spec if pool.model else None
            secrets, services = [], []
            if spec is not None and spec.provider is not None and spec.provider.credentials:
                secrets.append((key[0], spec.provider.credentials.secret_ref.name))
            if spec is not None and spec.vllm is not None:
                secrets += [(key[0], reference.name) for reference in spec.vllm.secrets]
            reference = service_of(pool.model) if pool.model else None
            if reference is not None:
                services.append((key[0], reference.name))
            self.by_secret.put(key, secrets)
            self.by_service.put(key, services)
            self._used_pool_changed(key)
            self._objects_changed([key])
        self._pools_changed([key])

    def remove_pool(self, obj: Object) -> None:
        """A ModelPool is gone."""
        key = key_of(obj)
        self._bury(obj)
        pool = self.pools.get(key)
        if pool is None or pool.version > version_of(obj):
            return
        del self.pools[key]
        self.by_secret.put(key, ())
        self.by_service.put(key, ())
        self._used_pool_changed(key)

    def replace_routes(self, objects: list[Object], namespace: str | None, version: int) -> None:
        """All ModelRoutes of a namespace (None: of all), as of a resourceVersion."""
        for obj in objects:
            self.put_route(obj)
        for gone in _missing(self.routes.values(), objects, namespace, version):
            self.remove_route(gone)

    def replace_pools(self, objects: list[Object], namespace: str | None, version: int) -> None:
        """All ModelPools of a namespace (None: of all), as of a resourceVersion."""
        for obj in objects:
            self.put_pool(obj)
        for gone in _missing(self.pools.values(), objects, namespace, version):
            self.remove_pool(gone)

    def secret_changed(self, secret: Key) -> None:
        """A Secret appeared, went, or has other keys."""
        self._pools_and_routes_changed(self.by_secret.of(secret))

    def service_changed(self, service: Key) -> None:
        """A Service or its endpoints changed."""
        pools = self.by_service.of(service)
        # Which number a named port stands for is part of the configuration.
        self._routers_changed({key for pool in pools for key in self.routers_of_pool(pool)})
        self._pools_and_routes_changed(pools)

    def router_changed(self, router: Key) -> None:
        """Something that belongs to a router changed."""
        self._routers_changed([router])

    def pods_changed(self, router: Key) -> None:
        """A router has other pods, or others of them are ready."""
        for listener in self.listeners:
            listener.pods_changed(router)

    def pool_objects_changed(self, pools: Iterable[Key]) -> None:
        """Objects of pools are other than they were."""
        affected = list(pools)
        self._objects_changed(affected)
        self._pools_and_routes_changed(affected)

    def server_pod_changed(self, pod: Key, pools: Iterable[Key]) -> None:
        """A pod of a pool is other than it was, or gone."""
        for listener in self.listeners:
            listener.server_pod_changed(pod)
        self._pools_and_routes_changed(pools)

    def pools_observed(self, namespace: str, pools: Iterable[str]) -> None:
        """Routers see other endpoints of these pools than before."""
        self._pools_and_routes_changed({(namespace, pool_of(name)) for name in pools})

    def announce_all(self, listener: Listener) -> None:
        """Mark everything for somebody who begins to work."""
        for router in list(self.by_router):
            listener.router_changed(router)
        for route in self.routes:
            listener.route_changed(route)
        for pool in self.pools:
            listener.pool_changed(pool)
            listener.pool_objects_changed(pool)

    def routers_of_pool(self, pool: Key) -> set[Key]:
        """The routers that a pool serves."""
        return {key for route in self.by_pool.of(pool) for key in self.by_router.groups(route)}

    def _is_old(self, obj: Object, known: Route | Pool | None) -> bool:
        version = version_of(obj)
        if known is not None and version <= known.version:
            return True
        return version <= self._graves.get(str(obj["metadata"].get("uid", "")), -1)

    def _bury(self, obj: Object) -> None:
        # What is known of a deleted object may still be on its way, as an answer to a write.
        if len(self._graves) >= _MOST_GRAVES:
            self._graves.clear()
        self._graves[str(obj["metadata"].get("uid", ""))] = version_of(obj)

    def _pools_named(self, route: Route | None) -> set[Key]:
        if route is None or route.model is None:
            return set()
        return {(route.key[0], name) for name in route.model.spec.model_pools}

    def _used_pool_changed(self, pool: Key) -> None:
        self._routers_changed(self.routers_of_pool(pool))
        self._routes_changed(self.by_pool.of(pool))

    def _pools_and_routes_changed(self, pools: Iterable[Key]) -> None:
        affected = list(pools)
        self._pools_changed(affected)
        self._routes_changed({route for pool in affected for route in self.by_pool.of(pool)})

    def _routers_changed(self, routers: Iterable[Key]) -> None:
        for router in routers:
            for listener in self.listeners:
                listener.router_changed(router)

    def _routes_changed(self, routes: Iterable[Key]) -> None:
        for listener in self.listeners:
            for route in routes:
                listener.route_changed(route)

    def _pools_changed(self, pools: Iterable[Key]) -> None:
        for listener in self.listeners:
            for pool in pools:
                listener.pool_changed(pool)

    def _objects_changed(self, pools: Iterable[Key]) -> None:
        for listener in self.listeners:
            for pool in pools:
                listener.pool_objects_changed(pool)


def _missing(
    known: Iterable[Route | Pool], listed: Iterable[Object], namespace: str | None, version: int
) -> list[Object]:
    """What a list does not hold any more. What is newer than the list it cannot know."""
    keys = {key_of(obj) for obj in listed}
    return [
        {
            "metadata": {
                "name": r.key[1],
                "namespace": r.key[0],
                "uid": r.uid,
                "resourceVersion": str(version),
            }
        }
        for r in known
        if r.key not in keys and namespace in (None, r.key[0]) and r.version <= version
    ]
