"""All objects of a pool that the operator runs, each with the fields that the operator owns."""

from __future__ import annotations

from modelrouter.api.pool import ModelPool
from modelrouter.plan.vllm.cache import plan_cache
from modelrouter.plan.vllm.deployment import plan_deployment
from modelrouter.plan.vllm.disruption import plan_disruption_budget
from modelrouter.plan.vllm.naming import Object
from modelrouter.plan.vllm.scaled_object import plan_scaled_object
from modelrouter.plan.vllm.services import plan_adapter_service, plan_service


def plan_pool_children(
    pool: ModelPool, *, replicas: int | None = None, keda_url: str = ""
) -> list[Object]:
    """The objects of a pool with `vllm`, in the order in which they should come to be.

    `replicas` is what an autoscaled pool should have. None: the least that `autoscaling` allows, or
    with KEDA nothing at all, once KEDA has set a number. `keda_url` is where KEDA reaches the
    operator; empty: there is no KEDA. A pool with another source has no objects.
    """
    vllm = pool.spec.vllm
    if vllm is None:
        return []
    return [
        *([plan_cache(pool, vllm.cache)] if vllm.cache else []),
        plan_service(pool),
        *(plan_adapter_service(pool, adapter) for adapter in vllm.lora_adapters),
        plan_disruption_budget(pool),
        plan_deployment(pool, vllm, replicas),
        *([scaled] if (scaled := plan_scaled_object(pool, keda_url)) else []),
    ]
