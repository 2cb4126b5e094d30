"""The objects that the operator has made, as the API server has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from modelrouter.api.manifests import Key
from modelrouter.controller.index import Index
from modelrouter.controller.store import Object, ObjectStore, key_of, own_fields_only
from modelrouter.kube.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    POD_DISRUPTION_BUDGETS,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    SERVICES,
    Resource,
)
from modelrouter.plan.naming import COMPONENT as COMPONENT_LABEL
from modelrouter.plan.naming import CONFIG_COMPONENT, MANAGED_BY, OPERATOR, ROUTER, shard_index
from modelrouter.plan.shards import pool_key, route_key

KINDS = (
    DEPLOYMENTS,
    POD_DISRUPTION_BUDGETS,
    SERVICES,
    CONFIG_MAPS,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
)
"""In the order in which they go when a router is not needed any more."""

SELECTOR = f"{MANAGED_BY}={OPERATOR},{ROUTER}"
"""Label selector of all children."""


def trim_child(obj: Object) -> Object:
    """The part of a child that is kept in memory."""
    return own_fields_only({k: v for k, v in obj.items() if k != "status"}, OPERATOR)


class ChildStore:
    """Children of one kind."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self._objects = ObjectStore(trim_child)
        self._by_router = Index()

    def get(self, key: Key) -> Object | None:
        """One child."""
        return self._objects.get(key)

    def of(self, router: Key) -> list[Object]:
        """The children of a router, by name."""
        keys = sorted(self._by_router.of(router))
        return [obj for obj in (self._objects.get(key) for key in keys) if obj is not None]

    def routers(self) -> Iterator[Key]:
        """Every router that has such a child."""
        return iter(self._by_router)

    def put(self, obj: Object) -> set[Key]:
        """A child was seen; the routers for which that is news."""
        return self._look_at([key_of(obj)]) if self._objects.put(obj) else set()

    def remove(self, obj: Object) -> set[Key]:
        """A child is gone; the routers for which that is news."""
        return self._look_at([key_of(obj)]) if self._objects.remove(obj) else set()

    def replace(self, objects: Iterable[Object], namespace: str | None) -> set[Key]:
        """All children of a namespace (None: of all); the routers for which something is news."""
        return self._look_at(self._objects.replace(objects, namespace))

    def _look_at(self, keys: Iterable[Key]) -> set[Key]:
        routers: set[Key] = set()
        for key in keys:
            obj = self._objects.get(key)
            now = [(key[0], router_label(obj))] if obj is not None else []
            routers |= {*self._by_router.groups(key), *now}
            self._by_router.put(key, now)
        return routers


class Children:
    """Children of all kinds."""

    def __init__(self) -> None:
        self.stores = {resource: ChildStore(resource) for resource in KINDS}

    def of(self, router: Key) -> list[tuple[Resource, Object]]:
        """All children of a router, in the order in which they go."""
        return [
            (resource, obj) for resource, store in self.stores.items() for obj in store.of(router)
        ]

    def routers(self) -> set[Key]:
        """Every router that has children."""
        return {router for store in self.stores.values() for router in store.routers()}

    def shards(self, router: Key) -> dict[int, dict[str, str]]:
        """The router's configuration as its ConfigMaps hold it."""
        found: dict[int, dict[str, str]] = {}
        for obj in self.stores[CONFIG_MAPS].of(router):
            index = shard_index(router[1], obj["metadata"]["name"])
            labels = obj["metadata"].get("labels") or {}
            if index is not None and labels.get(COMPONENT_LABEL) == CONFIG_COMPONENT:
                data = obj.get("data") or {}
                found[index] = {key: text for key, text in data.items() if is_entry(key)}
        return found


def is_entry(key: str) -> bool:
    """Whether a key of a ConfigMap is a route's or a pool's. Others are none of our business."""
    return key.startswith((pool_key(""), route_key("")))


def router_label(obj: Object) -> str:
    """The router that an object says it belongs to."""
    return str((obj["metadata"].get("labels") or {}).get(ROUTER, ""))
