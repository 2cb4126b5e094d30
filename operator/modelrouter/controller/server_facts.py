"""The objects and pods of a pool, from memory → the facts that its status depends on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from modelrouter.api.manifests import Key
from modelrouter.api.vllm import Vllm
from modelrouter.controller.pool_children import PoolChildren
from modelrouter.plan.servers.adapters import read_adapter_pod
from modelrouter.plan.servers.facts import Adapter, Servers
from modelrouter.plan.servers.reading import read_server_pod
from modelrouter.plan.servers.workload import read_workload
from modelrouter.plan.vllm.naming import pod_selector


def server_facts(
    pool: Key,
    vllm: Vllm,
    children: PoolChildren,
    now: datetime,
    problem: str,
    adapter_errors: Mapping[str, str],
) -> Servers:
    """What is known at `now`. `problem` is why the pool's objects cannot be written."""
    deployment, cache = children.deployment(pool), children.cache(pool)
    phase = str(((cache or {}).get("status") or {}).get("phase") or "")
    found = children.pods.of(pool)
    read = [read_server_pod(pod, now, vllm.startup_timeout, phase) for pod in found]
    usable = [adapter_pod.usable for pod in found if (adapter_pod := read_adapter_pod(pod)).ready]
    return Servers(
        workload=read_workload(deployment) if deployment is not None else None,
        pods=tuple(pod for pod in read if pod is not None),
        selector=",".join(f"{name}={value}" for name, value in pod_selector(pool[1]).items()),
        problem=problem,
        adapters=tuple(
            Adapter(
                adapter.name,
                sum(adapter.name in names for names in usable),
                adapter_errors.get(adapter.name, ""),
            )
            for adapter in vllm.lora_adapters
        ),
    )


def tells_time(pool: Key, children: PoolChildren, now: datetime) -> bool:
    """Whether the pool's status depends on the time: a pod is not ready, or only just is."""
    pods = (read_server_pod(pod, now, "1s") for pod in children.pods.of(pool))
    return any(pod is not None and (pod.fresh or not pod.ready) for pod in pods)
