"""Why the scheduler finds no node, from its message: which resource is short, or which volume."""

from __future__ import annotations

import re

from modelrouter.plan.servers.facts import Trouble

UNSCHEDULABLE, VOLUME_NOT_BOUND = "Unschedulable", "VolumeNotBound"

_SHORT = re.compile(r"(\d+) Insufficient ([^\s,;]+?)(?=[.,;]?(?:\s|$))")
_VOLUME = re.compile(
    r"persistentvolumeclaim|persistent volume|volume node affinity|binding volumes|volume binding",
    re.IGNORECASE,
)
_PREEMPTION = re.compile(r"\s*(?:preemption:|no new claims to deallocate).*", re.DOTALL)


def unschedulable(pod: str, message: str) -> Trouble:
    """The trouble of a pod that the scheduler has put off with this message."""
    # How many nodes could not even be emptied for it changes often, and helps nobody.
    told = _PREEMPTION.sub("", message).strip().rstrip(".")
    short = sorted({resource for _, resource in _SHORT.findall(told)})
    if short:
        return Trouble(
            UNSCHEDULABLE,
            f"no node has enough {' and '.join(short)} free for pod {pod} ({told}); add nodes, "
            "free some, or ask for less in spec.vllm.resources",
        )
    if _VOLUME.search(told):
        return volume_not_bound(pod, told)
    if not told:
        return Trouble(UNSCHEDULABLE, f"no node takes pod {pod}; see: kubectl describe pod {pod}")
    return Trouble(
        UNSCHEDULABLE,
        f"no node takes pod {pod}: {told}; look at nodeSelector, "
        "affinity and tolerations in spec.vllm.podTemplate",
    )


def volume_not_bound(pod: str, told: str) -> Trouble:
    """The trouble of a pod that waits for a volume."""
    return Trouble(
        VOLUME_NOT_BOUND,
        f"pod {pod} waits for its volume: {told}; look at the PersistentVolumeClaim with kubectl "
        "describe pvc, and at the storage class and size in spec.vllm.cache",
    )
