"""What is written, by the API server's own audit log: no more than what changed."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from cluster.control_plane.controller.lateanswers import late_answers
from cluster.control_plane.controller.operators import Installation, Operator
from cluster.control_plane.controller.resources import ModelServer, Resources
from cluster.control_plane.controller.routerpods import RouterPods
from cluster.control_plane.controller.waiting import eventually
from cluster.kubernetes.access import Kubernetes
from component.router.manifests import Manifest, pool, route
from modelrouter.controller.events import CONTROLLER

IDLE_SECONDS = 20.0


@pytest.fixture(autouse=True)
def own(kubernetes: Kubernetes) -> None:
    if not kubernetes.is_own:
        pytest.skip("not on somebody else's cluster: this reads its audit log")


def weighted(name: str, weight: int) -> Manifest:
    """A route that shares its requests between two pools."""
    targets = [{"pool": "a", "weight": weight}, {"pool": "b", "weight": 10}]
    return route(name, pools=["a", "b"], rules=[{"name": "all", "targets": targets}])


def begin(resources: Resources, router_pods: RouterPods, *, routes: int, pods: int) -> None:
    """So many routes over two pools, in so many router pods, until all is ready."""
    server = ModelServer()
    pools = [pool(name, server.address, model="m") for name in ("a", "b")]
    resources.apply(*pools, *(weighted(f"route-{n}", 90) for n in range(routes)))
    router_pods.start(pods)
    for n in range(routes):
        resources.expect("mroute", f"route-{n}", within=60, Ready=("True", "Ready"))
    for name in ("a", "b"):
        resources.expect("mpool", name, within=60, Ready=("True", "EndpointsReady"))


def written(installation: Installation, since: int) -> Counter[str]:
    """What was written, by resource."""
    return Counter(
        "/".join(filter(None, (e["objectRef"]["resource"], e["objectRef"].get("subresource"))))
        for e in installation.writes(since=since)
    )


def posted(resources: Resources) -> list[str]:
    """What the operator says in Events. Others post some too: pods here have no node."""
    return sorted(
        event["note"]
        for event in resources.all("events.events.k8s.io")
        if event.get("reportingController") == CONTROLLER
    )


def test_nothing_is_written_while_nothing_happens_and_little_for_a_little_change(
    operator: Operator,
    installation: Installation,
    resources: Resources,
    router_pods: RouterPods,
) -> None:
    begin(resources, router_pods, routes=20, pods=2)
    operator.settle()

    count = len(installation.writes())
    events = posted(resources)
    time.sleep(IDLE_SECONDS)
    assert installation.writes(since=count) == []
    assert events
    assert posted(resources) == events

    # One weight: one shard, one status. A router that takes its time is told of in between.
    resources.apply(weighted("route-7", 50))
    resources.expect("mroute", "route-7", Programmed=("True", "Programmed"))
    operator.settle()
    changed = written(installation, count)
    assert changed.pop("modelroutes/status") <= 2
    assert changed == {"configmaps": 1}
    traffic = resources.get("mroute", "route-7")["status"]["traffic"]
    assert (traffic[0]["pool"], traffic[0]["weight"]) == ("a", 50)

    # A change without an effect, and one of metadata: the status's generation at most.
    count = len(installation.writes())
    resources.kubernetes.kubectl("label", "mroute", "route-7", "team=x", "-n", resources.namespace)
    operator.settle()
    assert installation.writes(since=count) == []


def test_routers_that_are_quicker_than_the_answer_of_the_api_server_turn_no_status(
    installation: Installation, resources: Resources, router_pods: RouterPods
) -> None:
    """They work by a version of which the operator is not told yet that it is written."""
    with late_answers(installation.kubeconfig, "configmaps", seconds=1.5) as kubeconfig:
        installation.kubeconfig = kubeconfig
        operator = installation.operator().lead()
        begin(resources, router_pods, routes=5, pods=1)
        operator.settle()
        count = len(installation.writes())
        programmed = operator.metric("modelrouter_programmed_seconds_count")

        resources.apply(weighted("route-3", 50))
        eventually(
            lambda: resources.get("mroute", "route-3")["status"]["traffic"][0]["weight"] == 50
        )
        operator.settle()
        assert written(installation, count)["modelroutes/status"] <= 2
        resources.expect("mroute", "route-3", Programmed=("True", "Programmed"))
        assert operator.metric("modelrouter_programmed_seconds_count") == programmed + 1
        operator.stop()


def test_a_router_pod_that_has_said_nothing_yet_changes_nothing(
    operator: Operator, installation: Installation, resources: Resources, router_pods: RouterPods
) -> None:
    """Another pod becomes ready, as in any rolling update: what is known of pools stays known."""
    begin(resources, router_pods, routes=1, pods=1)
    operator.settle()
    (another,) = router_pods.start(1, told=False)
    time.sleep(6)  # A new leader waits longer for everything.
    count = len(installation.writes())
    another.freeze()
    another.report(ready=True)
    time.sleep(1.5)
    assert installation.writes(since=count) == []
    another.thaw()
    time.sleep(1.5)
    operator.settle()
    assert installation.writes(since=count) == []


def test_a_new_leader_finds_everything_as_it_should_be(
    installation: Installation, resources: Resources, router_pods: RouterPods
) -> None:
    first = installation.operator("first").lead()
    begin(resources, router_pods, routes=1, pods=2)
    first.settle()
    first.stop()
    count = len(installation.writes())
    second = installation.operator("second").lead()
    second.settle()
    time.sleep(3)
    second.settle()
    assert installation.writes(since=count) == []
