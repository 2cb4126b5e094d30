"""The Services of a pool, whose endpoints routers follow.

They are headless: nobody sends requests to the Services themselves.
"""

from __future__ import annotations

from collections.abc import Mapping

from modelrouter.api.pool import ModelPool
from modelrouter.api.vllm import LoraAdapter
from modelrouter.plan.vllm.naming import (
    ADAPTER,
    LOADED,
    PORT,
    PORT_NAME,
    Object,
    adapter_label,
    adapter_service_name,
    child_name,
    metadata,
    pod_selector,
)


def plan_service(pool: ModelPool) -> Object:
    """All servers of the pool."""
    name = pool.metadata.name
    return _service(metadata(pool, child_name(name)), pod_selector(name))


def plan_adapter_service(pool: ModelPool, adapter: LoraAdapter) -> Object:
    """The servers of the pool that have loaded an adapter."""
    name = pool.metadata.name
    named = metadata(pool, adapter_service_name(name, adapter.name))
    named["labels"][ADAPTER] = adapter.name
    return _service(named, {**pod_selector(name), adapter_label(adapter.name): LOADED})


def _service(metadata: Object, selector: Mapping[str, str]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "clusterIP": "None",
            "selector": dict(selector),
            "ports": [
                {
                    "name": PORT_NAME,
                    "port": PORT,
                    "protocol": "TCP",
                    "targetPort": PORT_NAME,
                    "appProtocol": "http",
                }
            ],
        },
    }
