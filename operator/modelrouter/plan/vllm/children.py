"""All objects of a pool that the operator runs, each with the fields that the operator owns."""

from __future__ import annotations

from modelrouter.api.pool import ModelPool
from modelrouter.plan.vllm.cache import plan_cache
from modelrouter.plan.vllm.deployment import plan_deployment
from modelrouter.plan.vllm.disruption import plan_disruption_budget
from modelrouter.plan.vllm.naming import Object
from modelrouter.plan.vllm.services import plan_adapter_service, plan_service


def plan_pool_children(pool: ModelPool, *, replicas: int | None = None) -> list[Object]:
    """The objects of a pool with `vllm`, in the order in which they should come to be.

    `replicas` is what the built-in autoscaler says. None: `spec.vllm.replicas`, or the least that
    `autoscaling` allows. With KEDA the number of replicas is not planned at all. A pool with
    another source has no objects.
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
    ]
