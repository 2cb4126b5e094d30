"""The objects that the operator has made, as the API server has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

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
    """Children of one kind, by the parent that a label of theirs names."""

    def __init__(
        self,
        resource: Resource,
        label: str = ROUTER,
        trim: Callable[[Object], Object] = trim_child,
    ) -> None:
        self.resource = resource
        self._label = label
        self._objects = ObjectStore(trim)
        self._by_parent = Index()

    def get(self, key: Key) -> Object | None:
        """One child."""
        return self._objects.get(key)

    def of(self, parent: Key) -> list[Object]:
        """The children of a parent, by name."""
        keys = sorted(self._by_parent.of(parent))
        return [obj for obj in (self._objects.get(key) for key in keys) if obj is not None]

    def parents(self) -> Iterator[Key]:
        """Every parent that has such a child."""
        return iter(self._by_parent)

    def put(self, obj: Object) -> set[Key]:
        """A child was seen; the parents for which that is news."""
        return self._look_at([key_of(obj)]) if self._objects.put(obj) else set()

    def remove(self, obj: Object) -> set[Key]:
        """A child is gone; the parents for which that is news."""
        return self._look_at([key_of(obj)]) if self._objects.remove(obj) else set()

    def replace(self, objects: Iterable[Object], namespace: str | None) -> set[Key]:
        """All children of a namespace (None: of all); the parents for which something is news."""
        return self._look_at(self._objects.replace(objects, namespace))

    def _look_at(self, keys: Iterable[Key]) -> set[Key]:
        parents: set[Key] = set()
        for key in keys:
            obj = self._objects.get(key)
            now = [(key[0], self._parent(obj))] if obj is not None else []
            parents |= {*self._by_parent.groups(key), *now}
            self._by_parent.put(key, now)
        return parents

    def _parent(self, obj: Object) -> str:
        return str((obj["metadata"].get("labels") or {}).get(self._label, ""))


class Children:
    """Children of routers, of all kinds."""

    def __init__(self) -> None:
        self.stores = {resource: ChildStore(resource) for resource in KINDS}

    def of(self, router: Key) -> list[tuple[Resource, Object]]:
        """All children of a router, in the order in which they go."""
        return [
            (resource, obj) for resource, store in self.stores.items() for obj in store.of(router)
        ]

    def routers(self) -> set[Key]:
        """Every router that has children."""
        return {router for store in self.stores.values() for router in store.parents()}

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
