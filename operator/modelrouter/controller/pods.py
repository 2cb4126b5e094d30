"""The pods of the routers, as the API server has them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from modelrouter.api.manifests import Key
from modelrouter.controller.index import Index
from modelrouter.controller.store import Object, ObjectStore, key_of
from modelrouter.plan.naming import ROUTER


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod of a router."""

    key: Key
    uid: str
    router: Key
    address: str
    """Its IP address; empty while it has none."""
    ready: bool

    @property
    def name(self) -> str:
        """Its name."""
        return self.key[1]


def read_pod(obj: Object) -> Pod | None:
    """The pod, or None where it serves nothing any more: it goes, or has ended."""
    metadata, status = obj["metadata"], obj.get("status") or {}
    router = (metadata.get("labels") or {}).get(ROUTER, "")
    if metadata.get("deletionTimestamp") or status.get("phase") in ("Failed", "Succeeded"):
        return None
    conditions = status.get("conditions") or ()
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
    return Pod(
        key=key_of(obj),
        uid=str(metadata.get("uid", "")),
        router=(metadata.get("namespace", ""), router),
        address=str(status.get("podIP") or ""),
        ready=ready,
    )


def trim_pod(obj: Object) -> Object:
    """The part of a pod that is kept in memory."""
    metadata, status = obj["metadata"], obj.get("status") or {}
    kept = ("name", "namespace", "uid", "resourceVersion", "labels", "deletionTimestamp")
    return {
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "status": {
            "phase": status.get("phase"),
            "podIP": status.get("podIP"),
            "conditions": [
                condition
                for condition in status.get("conditions") or ()
                if condition.get("type") == "Ready"
            ],
        },
    }


class PodStore:
    """Pods by router."""

    def __init__(self) -> None:
        self._objects = ObjectStore(trim_pod)
        self._pods: dict[Key, Pod] = {}
        self._by_router = Index()

    def of(self, router: Key) -> list[Pod]:
        """The pods of a router, by name."""
        return [self._pods[key] for key in sorted(self._by_router.of(router))]

    def all(self) -> Iterable[Pod]:
        """Every pod."""
        return self._pods.values()

    def put(self, obj: Object) -> set[Key]:
        """A pod was seen; the routers for which that is news."""
        return self._look_at([key_of(obj)]) if self._objects.put(obj) else set()

    def remove(self, obj: Object) -> set[Key]:
        """A pod is gone; the routers for which that is news."""
        return self._look_at([key_of(obj)]) if self._objects.remove(obj) else set()

    def replace(self, objects: list[Object], namespace: str | None) -> set[Key]:
        """All pods of a namespace (None: of all); the routers for which something is news."""
        return self._look_at(self._objects.replace(objects, namespace))

    def _look_at(self, keys: Iterable[Key]) -> set[Key]:
        routers: set[Key] = set()
        for key in keys:
            obj, before = self._objects.get(key), self._pods.pop(key, None)
            after = read_pod(obj) if obj is not None else None
            if after is not None:
                self._pods[key] = after
            self._by_router.put(key, [after.router] if after else ())
            if before != after:
                routers |= {pod.router for pod in (before, after) if pod is not None}
        return routers
