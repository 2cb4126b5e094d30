"""What the objects of a pool are called, and the labels by which they are found."""

from __future__ import annotations

import hashlib
from typing import Any

from modelrouter.api.pool import ModelPool
from modelrouter.plan.naming import COMPONENT, INSTANCE, MANAGED_BY, NAME, OPERATOR, PART_OF

POOL = "modelrouter.dev/pool"
ADAPTER = "modelrouter.dev/adapter"
"""On the Service of an adapter: the adapter's name."""
POOL_COMPONENT = "model-server"
CONTAINER = "vllm"
"""Name of the container."""

PORT_NAME, PORT = "http", 8000
"""Where a server takes requests."""

LOADED = "loaded"
"""Value of a pod's label that says that the pod has loaded an adapter."""

_LONGEST_LABEL = 63

Object = dict[str, Any]
"""A Kubernetes object as plain data."""


def child_name(pool: str) -> str:
    """The name of a pool's Deployment, Service and PodDisruptionBudget."""
    return f"model-pool-{pool}"


def cache_name(pool: str) -> str:
    """The name of a pool's PersistentVolumeClaim."""
    return f"{child_name(pool)}-cache"


def adapter_service_name(pool: str, adapter: str) -> str:
    """The name of the Service of an adapter.

    A hash stands for the adapter, because names of Services are shorter and lower-case.
    """
    digest = hashlib.blake2b(f"{pool}/{adapter}".encode(), digest_size=5).hexdigest()
    ending = f"-lora-{digest}"
    return child_name(pool)[: _LONGEST_LABEL - len(ending)].rstrip("-") + ending


def adapter_label(adapter: str) -> str:
    """The key of the label of pods that have loaded an adapter; its value is `LOADED`."""
    return f"lora.modelrouter.dev/{adapter}"


def pool_labels(pool: str) -> dict[str, str]:
    """The labels of a pool's objects."""
    return {
        NAME: CONTAINER,
        INSTANCE: child_name(pool),
        COMPONENT: POOL_COMPONENT,
        PART_OF: OPERATOR,
        MANAGED_BY: OPERATOR,
        POOL: pool,
    }


def pod_selector(pool: str) -> dict[str, str]:
    """The labels that tell a pool's pods from all others."""
    return {NAME: CONTAINER, COMPONENT: POOL_COMPONENT, POOL: pool}


def metadata(pool: ModelPool, name: str) -> Object:
    """The metadata of an object that goes when the pool does."""
    found: Object = {
        "name": name,
        "namespace": pool.metadata.namespace,
        "labels": pool_labels(pool.metadata.name),
    }
    if pool.metadata.uid:
        found["ownerReferences"] = [
            {
                "apiVersion": pool.api_version,
                "kind": pool.kind,
                "name": pool.metadata.name,
                "uid": pool.metadata.uid,
                "controller": True,
                "blockOwnerDeletion": False,
            }
        ]
    return found
