"""The Deployment of a `vllm` pool, as the API server has it → what it says of its pods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelrouter.plan.servers.crashes import shorten
from modelrouter.plan.servers.facts import Workload


def read_workload(deployment: Mapping[str, Any]) -> Workload:
    """What a Deployment says of itself. Before its controller has seen it: nothing but its spec."""
    spec, status = deployment.get("spec") or {}, deployment.get("status") or {}
    metadata = deployment["metadata"]
    conditions: dict[str, Any] = {c.get("type"): c for c in status.get("conditions") or ()}
    failure, progress = conditions.get("ReplicaFailure", {}), conditions.get("Progressing", {})
    stuck = shorten(progress.get("message") or "") if progress.get("status") == "False" else ""
    if spec.get("paused"):
        resume = f"kubectl rollout resume -n {metadata.get('namespace')}"
        stuck = f"somebody has paused it; go on with: {resume} deployment/{metadata['name']}"
    return Workload(
        wanted=int(spec.get("replicas", 1)),
        replicas=int(status.get("replicas") or 0),
        updated=int(status.get("updatedReplicas") or 0),
        current=int(status.get("observedGeneration") or 0) >= int(metadata.get("generation") or 0),
        failure=shorten(failure.get("message") or "") if failure.get("status") == "True" else "",
        stuck=stuck,
    )
