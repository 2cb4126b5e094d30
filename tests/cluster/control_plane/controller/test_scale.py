"""A thousand routes and two hundred pools: what a start costs, and what one change costs then.

The figures are printed (`pytest -s`); what is asserted leaves room for a machine that is busy.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from cluster.control_plane.controller.operators import Installation
from cluster.control_plane.controller.resources import ModelServer, Resources
from cluster.control_plane.controller.routerpods import RouterPods
from cluster.control_plane.controller.waiting import eventually
from cluster.kubernetes.access import Kubernetes
from component.router.manifests import Manifest, pool, route

ROUTES, POOLS = 1000, 200
LONGEST_START_SECONDS = 90.0
MOST_MEMORY = 350e6


@pytest.fixture(autouse=True)
def own(kubernetes: Kubernetes) -> None:
    if not kubernetes.is_own:
        pytest.skip("not on somebody else's cluster: this reads its audit log")


def numbered_route(number: int, weight: int = 90) -> Manifest:
    names = [f"pool-{(number + step) % POOLS}" for step in range(3)]
    targets = [{"pool": names[0], "weight": weight}, {"pool": names[1], "weight": 10}]
    long = {"name": "long", "match": {"promptTokens": {"min": 16000}}, "targets": [targets[1]]}
    rules = [{**long, "targets": [{"pool": names[2]}]}, {"name": "rest", "targets": targets}]
    return route(f"route-{number}", pools=names, rules=rules)


def programmed(resources: Resources) -> int:
    """How many routes are programmed at their present generation."""
    count = 0
    for found in resources.all("mroute"):
        generation = found["metadata"]["generation"]
        for condition in found.get("status", {}).get("conditions", ()):
            count += (
                condition["type"] == "Programmed"
                and condition["status"] == "True"
                and condition["observedGeneration"] == generation
            )
    return count


def at(event: dict[str, Any]) -> float:
    """When the API server took a request."""
    return datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()


def memory(pid: int) -> float:
    """Resident bytes of a process."""
    fields = Path(f"/proc/{pid}/status").read_text().split()
    return float(fields[fields.index("VmRSS:") + 1]) * 1024


def test_a_start_with_a_thousand_routes_and_one_change_among_them(
    installation: Installation, resources: Resources, router_pods: RouterPods
) -> None:
    server = ModelServer()
    operator = installation.operator("first").lead()
    resources.apply(pool("pool-0", server.address, model="m"), route("seed", pools=["pool-0"]))
    router_pods.start(1)
    resources.expect("mroute", "seed", within=120, Ready=("True", "Ready"))
    operator.stop()
    for first in range(0, POOLS, 100):
        pools = (
            pool(f"pool-{n}", server.address, model="acme/model", contextWindow=32000 + n)
            for n in range(first, first + 100)
        )
        resources.apply(*pools)
    for first in range(0, ROUTES, 200):
        resources.apply(*(numbered_route(n) for n in range(first, first + 200)))

    before = len(installation.writes())
    began, clock = time.monotonic(), time.time()
    operator = installation.operator("second")
    all_written = ROUTES + POOLS + 2
    eventually(
        lambda: (
            operator.metric("modelrouter_writes_total", kind="ModelRoute", result="success")
            + operator.metric("modelrouter_writes_total", kind="ModelPool", result="success")
            >= all_written - 2
        ),
        within=LONGEST_START_SECONDS,
        every=0.5,
    )
    eventually(lambda: programmed(resources) == ROUTES + 1, within=LONGEST_START_SECONDS)
    seconds = time.monotonic() - began
    operator.settle()
    writes = Counter(e["objectRef"]["resource"] for e in installation.writes(since=before))
    for resource in writes:
        times = [
            at(e) - clock
            for e in installation.writes(since=before)
            if e["objectRef"]["resource"] == resource
        ]
        print(f"\n{resource}: written from {min(times):.1f} s to {max(times):.1f} s", end="")
    print(
        f"\n{ROUTES} routes and {POOLS} pools programmed in {seconds:.1f} s, "
        f"{memory(operator.pid) / 1e6:.0f} MB, writes: {dict(writes)}"
    )
    assert memory(operator.pid) < MOST_MEMORY
    # Few more than one status each: routes and pools wait for what is on its way.
    assert writes["modelroutes"] <= 1.5 * ROUTES
    assert writes["configmaps"] <= 30

    took, statuses = [], []
    for weight in range(1, 6):
        before = len(installation.writes())
        began = time.monotonic()
        resources.apply(numbered_route(7, weight))
        resources.expect("mroute", "route-7", Programmed=("True", "Programmed"))
        took.append(time.monotonic() - began)
        operator.settle()
        changed = Counter(e["objectRef"]["resource"] for e in installation.writes(since=before))
        statuses.append(changed.pop("modelroutes"))
        assert changed == {"configmaps": 1}, json.dumps(changed)
    # A router that takes its time is told of in between.
    assert min(statuses) == 1, statuses
    assert max(statuses) <= 2, statuses
    print(f"a changed weight: status after {', '.join(f'{s:.2f}' for s in took)} s (by kubectl)")
