"""The objects and pods of pools whose servers the operator runs, as the API server has them."""

from __future__ import annotations

from modelrouter.api.manifests import Key
from modelrouter.controller.children import ChildStore
from modelrouter.controller.drift import owned_fields
from modelrouter.controller.store import Object, own_fields_only
from modelrouter.kube.resources import (
    DEPLOYMENTS,
    PERSISTENT_VOLUME_CLAIMS,
    POD_DISRUPTION_BUDGETS,
    PODS,
    SCALED_OBJECTS,
    SERVICES,
    Resource,
)
from modelrouter.plan.naming import COMPONENT, MANAGED_BY, OPERATOR
from modelrouter.plan.servers.adapters import ANNOTATION
from modelrouter.plan.vllm.naming import POOL, POOL_COMPONENT, cache_name, child_name

KINDS = (SCALED_OBJECTS, DEPLOYMENTS, POD_DISRUPTION_BUDGETS, SERVICES, PERSISTENT_VOLUME_CLAIMS)
"""In the order in which they go when they are not needed any more."""

KEPT = (PERSISTENT_VOLUME_CLAIMS,)
"""What goes with its pool only: a cache that is not mounted for a while is worth keeping."""

SELECTOR = f"{MANAGED_BY}={OPERATOR},{POOL}"
"""Label selector of all children."""

POD_SELECTOR = f"{COMPONENT}={POOL_COMPONENT},{POOL}"
"""Label selector of all pods."""

_POD_METADATA = (
    "name", "namespace", "uid", "resourceVersion", "labels", "creationTimestamp",
    "deletionTimestamp",
)  # fmt: skip
_CONTAINER_STATUS = (
    "name", "image", "ready", "started", "restartCount", "containerID", "state", "lastState",
)  # fmt: skip


class PoolChildren:
    """Children of pools, of all kinds, and the pods."""

    def __init__(self, keda: bool) -> None:
        """`keda`: whether there may be ScaledObjects."""
        kinds = [kind for kind in KINDS if keda or kind is not SCALED_OBJECTS]
        self.stores = {resource: ChildStore(resource, POOL, _trim) for resource in kinds}
        self.pods = ChildStore(PODS, POOL, trim_server_pod)

    def of(self, pool: Key) -> list[tuple[Resource, Object]]:
        """All children of a pool, in the order in which they go."""
        return [
            (resource, obj) for resource, store in self.stores.items() for obj in store.of(pool)
        ]

    def pools(self) -> set[Key]:
        """Every pool that has children."""
        return {pool for store in self.stores.values() for pool in store.parents()}

    def deployment(self, pool: Key) -> Object | None:
        """The Deployment of a pool."""
        return self.stores[DEPLOYMENTS].get((pool[0], child_name(pool[1])))

    def replicas(self, pool: Key) -> tuple[int, bool] | None:
        """The `spec.replicas` of a pool's Deployment, and whether the operator set them last; None:
        there is no Deployment."""
        deployment = self.deployment(pool)
        if deployment is None:
            return None
        owned = (owned_fields(deployment, OPERATOR) or {}).get("f:spec", {})
        return int(deployment["spec"].get("replicas", 1)), "f:replicas" in owned

    def cache(self, pool: Key) -> Object | None:
        """The PersistentVolumeClaim of a pool."""
        return self.stores[PERSISTENT_VOLUME_CLAIMS].get((pool[0], cache_name(pool[1])))


def pool_of(pod: Object) -> Key:
    """The pool that a pod says it belongs to."""
    metadata = pod["metadata"]
    return metadata.get("namespace", ""), (metadata.get("labels") or {}).get(POOL, "")


def trim_server_pod(obj: Object) -> Object:
    """The part of a pod that is kept in memory."""
    metadata, status = obj["metadata"], obj.get("status") or {}
    kept = {key: metadata[key] for key in _POD_METADATA if key in metadata}
    note = (metadata.get("annotations") or {}).get(ANNOTATION)
    if note is not None:
        kept["annotations"] = {ANNOTATION: note}
    return {
        "metadata": kept,
        "takesAdapters": _takes_adapters(obj),
        "status": {
            "phase": status.get("phase"),
            "podIP": status.get("podIP"),
            "conditions": status.get("conditions") or [],
            **{
                name: [
                    {key: container[key] for key in _CONTAINER_STATUS if key in container}
                    for container in status.get(name) or ()
                ]
                for name in ("initContainerStatuses", "containerStatuses")
            },
        },
    }


def _takes_adapters(pod: Object) -> bool:
    """Whether its server was started with adapters in mind: those before the first one were not."""
    containers = (pod.get("spec") or {}).get("containers") or ()
    return any("--enable-lora" in (container.get("args") or ()) for container in containers)


def _trim(obj: Object) -> Object:
    return own_fields_only(obj, OPERATOR)
