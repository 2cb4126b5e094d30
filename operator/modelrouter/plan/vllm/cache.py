"""The volume that a pool's servers download to."""

from __future__ import annotations

from modelrouter.api.pool import ModelPool
from modelrouter.api.vllm import Cache
from modelrouter.plan.vllm.naming import Object, cache_name, metadata


def plan_cache(pool: ModelPool, cache: Cache) -> Object:
    """The PersistentVolumeClaim."""
    spec: Object = {
        "accessModes": [cache.access_mode.value],
        "resources": {"requests": {"storage": cache.size}},
    }
    if cache.storage_class_name is not None:
        spec["storageClassName"] = cache.storage_class_name
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata(pool, cache_name(pool.metadata.name)),
        "spec": spec,
    }
