"""From `kubectl apply` to the first answer, and what a pool says meanwhile."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cluster.node.pools import Pools, ready_at

START_SECONDS = 1200.0
"""On a machine that is busy with other things. On an idle one it takes half a minute."""


@dataclass(frozen=True, slots=True)
class Start:
    """How a pool came to serve."""

    seconds: float
    """From `apply` until the pool and its routes were Ready."""
    load_seconds: float
    """From the start of the container until its pod was ready."""
    said: tuple[str, ...]
    """The pool's messages about Ready, in the order in which they came."""


def watched_start(pools: Pools, pool: str, *objects: dict[str, Any]) -> Start:
    """Apply, and wait until everything is Ready."""
    began = time.monotonic()
    pools.apply(*objects, ready=False)
    said: list[str] = []
    while not all_ready(pools):
        message = pools.status("mpool", pool).get("Ready")
        if message and message not in said:
            said.append(message)
        assert time.monotonic() < began + START_SECONDS, said
        time.sleep(0.5)
    (pod,) = pools.pods(pool)
    running = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
    loaded = ready_at(pod) - datetime.fromisoformat(running).timestamp()
    return Start(time.monotonic() - began, loaded, tuple(said))


def all_ready(pools: Pools) -> bool:
    """Whether every pool and route says so, and every adapter is loaded."""
    found = [item for kind in ("mpool", "mroute") for item in pools.workloads.get(kind)["items"]]
    return all(
        _holds(item, "Ready") and _holds(item, "AdaptersLoaded", otherwise=True) for item in found
    )


def _holds(item: dict[str, Any], condition: str, *, otherwise: bool = False) -> bool:
    for each in item.get("status", {}).get("conditions", []):
        if each["type"] == condition:
            current = each["observedGeneration"] == item["metadata"]["generation"]
            return bool(each["status"] == "True" and current)
    return otherwise
