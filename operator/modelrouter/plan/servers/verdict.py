"""The objects and pods of a `vllm` pool → whether they are as they should be, and if not, why."""

from __future__ import annotations

import re

from modelrouter.plan.servers.facts import ServerPod, Servers, Workload
from modelrouter.plan.servers.reading import (
    CONTAINER_NOT_STARTED,
    CRASH_LOOPING,
    IMAGE_PULL_FAILED,
    MODEL_LOADING,
    POD_STARTING,
    PROBE_FAILING,
)
from modelrouter.plan.servers.scheduling import UNSCHEDULABLE, VOLUME_NOT_BOUND
from modelrouter.plan.verdicts import PENDING, Verdict, listed, no, unknown, yes

PODS_READY, ADAPTERS_LOADED = "PodsReady", "AdaptersLoaded"
"""Types of conditions, of pools whose pods the operator makes."""

SCALED_TO_ZERO, PODS_NOT_CREATED, ROLLOUT_STUCK = "ScaledToZero", "PodsNotCreated", "RolloutStuck"
POOL_NOT_APPLIED = "PoolNotApplied"
ADAPTER_NOT_LOADED, ADAPTER_LOADING = "AdapterNotLoaded", "AdapterLoading"

ON_THE_WAY = (MODEL_LOADING, POD_STARTING, ADAPTER_LOADING)
"""Reasons that waiting mends."""

_ORDER = (
    IMAGE_PULL_FAILED,
    "SecretNotFound",
    "SecretKeyNotFound",
    CONTAINER_NOT_STARTED,
    CRASH_LOOPING,
    PROBE_FAILING,
    VOLUME_NOT_BOUND,
    UNSCHEDULABLE,
    MODEL_LOADING,
    POD_STARTING,
)
"""What somebody has to do comes before what waiting mends."""
_OF_A_POD = re.compile(r'^pods "[^"]*" is forbidden: ')
"""The name is another one at each try."""


def pods_ready(servers: Servers) -> Verdict:
    """Whether all the pods that there should be are ready, and of the present version."""
    workload = servers.workload
    if servers.problem:
        return no(POOL_NOT_APPLIED, f"the pool's objects cannot be written: {servers.problem}")
    if workload is None:
        return unknown(PENDING, "the operator is about to make the Deployment")
    if workload.wanted == 0:
        return yes(SCALED_TO_ZERO, "no replica is wanted")
    if workload.failure:
        told = _OF_A_POD.sub("", workload.failure)
        what = "raise the quota, or ask for less" if "quota" in told else "correct what it names"
        return no(PODS_NOT_CREATED, f"pods cannot be created: {told}; {what}")
    behind = not workload.current or workload.updated < workload.wanted
    old = _old_ones(workload) if behind else ""
    if worst := _worst(servers.pods):
        return no(worst.reason, f"{worst.message}{old}")
    if workload.stuck and behind:
        return no(ROLLOUT_STUCK, f"the rollout makes no progress: {workload.stuck}{old}")
    ready = sum(pod.ready for pod in servers.pods)
    if ready < workload.wanted or behind:
        return no(POD_STARTING, f"{ready} of {workload.wanted} pods are ready{old}")
    what = "the only pod is" if workload.wanted == 1 else f"all {workload.wanted} pods are"
    return yes(PODS_READY, f"{what} ready")


def adapters_loaded(servers: Servers) -> Verdict:
    """Whether every ready pod has every adapter."""
    failed = [adapter for adapter in servers.adapters if adapter.error]
    if failed:
        told = [f"{adapter.name}: {adapter.error}" for adapter in failed]
        return no(
            ADAPTER_NOT_LOADED,
            f"{listed(told)}. It is tried again; correct its source in spec.vllm.loraAdapters",
        )
    ready = sum(pod.ready for pod in servers.pods)
    if not ready:
        return unknown(PENDING, "no pod is ready to load adapters")
    missing = [adapter for adapter in servers.adapters if adapter.loaded < ready]
    if missing:
        told = [f"{adapter.name} on {adapter.loaded} of {ready} pods" for adapter in missing]
        return no(ADAPTER_LOADING, f"adapters are being loaded: {listed(told, ', ')}")
    count = len(servers.adapters)
    return yes(
        ADAPTERS_LOADED,
        f"{count} adapter{'s are' if count > 1 else ' is'} loaded on all {ready} ready pods",
    )


def on_the_way(servers: Servers) -> bool:
    """Whether there are no pods, or they start as they should: then a request may wait for one."""
    found = pods_ready(servers)
    return found.status != "False" or found.reason in ON_THE_WAY


def _worst(pods: tuple[ServerPod, ...]) -> Verdict | None:
    troubles = [pod.trouble for pod in sorted(pods, key=lambda p: p.name) if pod.trouble]
    if not troubles:
        return None
    worst = min(troubles, key=lambda trouble: _ORDER.index(trouble.reason))
    same = sum(trouble.reason == worst.reason for trouble in troubles) - 1
    more = f"; {same} more pod{'s' if same > 1 else ''} likewise" if same else ""
    return no(worst.reason, f"{worst.text}{more}")


def _old_ones(workload: Workload) -> str:
    old = workload.replicas - workload.updated
    if old <= 0:
        return ""
    return f"; {old} of the version before still {'serve' if old > 1 else 'serves'}"
