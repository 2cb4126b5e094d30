"""From `kubectl apply` to the traffic: real requests through a router pod while weights change."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.envoys import answering_envoy
from bench.propagation.traffic import Traffic
from cluster.control_plane.controller.operators import Installation, Operator
from cluster.control_plane.controller.resources import Resources
from cluster.control_plane.controller.routerpods import RouterPod, RouterPods
from component.router.manifests import pool, route
from modelrouter.standalone.ports import free_port

PATIENCE_SECONDS = 30.0
POOLS = ("blue", "green")
PROGRAMMED = ("True", "Programmed")


def all_to(target: str) -> dict[str, Any]:
    """The route with all of its traffic for one pool."""
    targets = [{"pool": name, "weight": 100 if name == target else 0} for name in POOLS]
    return route("chat", pools=list(POOLS), rules=[{"name": "default", "targets": targets}])


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[str]]:
    """Addresses of two model servers that answer."""
    ports = [free_port(), free_port()]
    with answering_envoy(ports, tmp_path):
        yield [f"127.0.0.1:{port}" for port in ports]


@pytest.fixture
def pod(
    operator: Operator, resources: Resources, router_pods: RouterPods, servers: list[str]
) -> RouterPod:
    """A router that sends everything to blue."""
    pools = (pool(name, server, model="m") for name, server in zip(POOLS, servers, strict=True))
    resources.apply(*pools, all_to("blue"))
    (pod,) = router_pods.start()
    resources.expect("mroute", "chat", within=60, Ready=("True", "Ready"))
    return pod


def change(resources: Resources, traffic: Traffic, target: str) -> None:
    """Apply a change and see it in the traffic."""
    began = time.time()
    resources.apply(all_to(target))
    traffic.await_pool(target, began, PATIENCE_SECONDS)


def test_every_change_reaches_the_traffic_and_costs_one_shard(
    pod: RouterPod, operator: Operator, installation: Installation, resources: Resources
) -> None:
    if not resources.kubernetes.is_own:
        pytest.skip("not on somebody else's cluster: this reads its audit log")
    with Traffic(pod.address, 8080, "chat") as traffic:
        for target in ("green", "blue", "green", "blue"):
            operator.settle()
            before = len(installation.writes())
            change(resources, traffic, target)
            resources.expect("mroute", "chat", Programmed=PROGRAMMED)
            operator.settle()
            written: list[Any] = [w["objectRef"] for w in installation.writes(since=before)]
            kinds = Counter(about["resource"] for about in written)
            assert kinds["configmaps"] == 1, written
            # A slow pod may be told of before it has taken the change over.
            assert 1 <= kinds.pop("modelroutes") <= 2, written
            assert kinds.keys() <= {"configmaps", "modelpools"}, written
    assert traffic.count > 100
    assert traffic.failures == []


def test_of_many_changes_in_a_row_the_last_one_stays(pod: RouterPod, resources: Resources) -> None:
    with Traffic(pod.address, 8080, "chat") as traffic:
        for target in ("green", "blue", "green", "blue"):
            resources.apply(all_to(target))
        change(resources, traffic, "green")
        resources.expect("mroute", "chat", Programmed=PROGRAMMED)
        share = resources.get("mroute", "chat")["status"]["traffic"]
        assert [each["weight"] for each in share] == [0, 100]
        began = time.time()
        time.sleep(0.5)
        traffic.await_pool("green", began, PATIENCE_SECONDS)
    assert traffic.failures == []


def test_a_change_that_nobody_saw_counts_once_the_operator_is_back(
    pod: RouterPod, operator: Operator, resources: Resources
) -> None:
    with Traffic(pod.address, 8080, "chat") as traffic:
        operator.kill()
        resources.apply(all_to("green"))
        began = time.time()
        time.sleep(0.5)
        traffic.await_pool("blue", began, PATIENCE_SECONDS)
        operator.start().lead()
        traffic.await_pool("green", began, PATIENCE_SECONDS)
        resources.expect("mroute", "chat", Programmed=PROGRAMMED)
    assert traffic.failures == []
