"""The objects and pods of a pool, from memory → the facts that its status depends on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from modelrouter.api.manifests import Key
from modelrouter.api.vllm import Vllm
from modelrouter.controller.pool_children import PoolChildren
from modelrouter.controller.store import Object
from modelrouter.plan.servers.adapters import read_adapter_pod
from modelrouter.plan.servers.crashes import shorten
from modelrouter.plan.servers.durations import seconds_between, until_next_step
from modelrouter.plan.servers.facts import Adapter, Servers, Workload
from modelrouter.plan.servers.reading import read_server_pod, told_since
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


def read_workload(deployment: Object) -> Workload:
    """What a Deployment says of itself. Before its controller has seen it: nothing but its spec."""
    spec, status = deployment.get("spec") or {}, deployment.get("status") or {}
    wanted = int(spec.get("replicas", 1))
    seen = int(status.get("observedGeneration") or 0)
    generation = int(deployment["metadata"].get("generation") or 0)
    conditions: dict[str, Any] = {c.get("type"): c for c in status.get("conditions") or ()}
    failure, progress = conditions.get("ReplicaFailure", {}), conditions.get("Progressing", {})
    return Workload(
        wanted=wanted,
        replicas=int(status.get("replicas") or 0),
        updated=int(status.get("updatedReplicas") or 0),
        current=seen >= generation,
        failure=shorten(failure.get("message") or "") if failure.get("status") == "True" else "",
        stuck=shorten(progress.get("message") or "") if progress.get("status") == "False" else "",
    )


def seconds_to_next_step(pool: Key, children: PoolChildren, now: datetime) -> float | None:
    """Seconds until a duration that the pool's status tells is another; None: it tells none."""
    waits = [
        until_next_step(seconds_between(since, now))
        for pod in children.pods.of(pool)
        if not read_adapter_pod(pod).ready
        for since in told_since(pod)
    ]
    return min((wait for wait in waits if wait is not None), default=None)
