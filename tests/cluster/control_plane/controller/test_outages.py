"""The API server is away, slow or frozen, and comes back: nobody has to restart the operator."""

from __future__ import annotations

import time

import pytest

from cluster.control_plane.controller.operators import Installation, Operator
from cluster.control_plane.controller.resources import ModelServer, Resources
from cluster.control_plane.controller.routerpods import RouterPods
from cluster.control_plane.controller.waiting import eventually
from cluster.kubernetes.access import Kubernetes
from component.router.manifests import pool, route


@pytest.fixture
def own(kubernetes: Kubernetes) -> Kubernetes:
    """A cluster that may be broken."""
    if not kubernetes.is_own:
        pytest.skip("not on somebody else's cluster: this stops its API server")
    return kubernetes


def test_the_operator_goes_on_after_an_outage_longer_than_its_lease(
    own: Kubernetes, operator: Operator, resources: Resources, namespace: str
) -> None:
    resources.apply(route("before", pools=["none"]), route("gone", pools=["none"]))
    resources.expect("mroute", "before", Ready=("False", "PoolNotFound"))
    pid = operator.pid
    own.stop_api_server()
    try:
        time.sleep(18)
        assert operator.alive
        assert not operator.leads
        assert operator.healthy()
    finally:
        own.start_api_server()
    # What changed before the operator's watches are back must not be lost.
    resources.apply(route("after", pools=["none"]))
    resources.delete("mroute", "gone")
    resources.expect("mroute", "after", within=60, Ready=("False", "PoolNotFound"))
    data = "model-router-default-config-0"
    eventually(lambda: operator.leads, within=60)
    resources.apply(pool("none", "10.0.0.1:80", model="m"))
    eventually(
        lambda: (
            sorted(resources.get("configmap", data).get("data") or ())
            == ["pool.none", "route.after", "route.before"]
        ),
        within=60,
    )
    assert operator.pid == pid
    assert operator.alive


def test_a_short_outage_is_no_reason_to_lose_the_lead(
    own: Kubernetes, operator: Operator, resources: Resources, namespace: str
) -> None:
    own.restart_api_server()
    resources.apply(route("after", pools=["none"]))
    resources.expect("mroute", "after", within=60, Ready=("False", "PoolNotFound"))
    assert operator.alive


def test_a_frozen_api_server_is_noticed_and_left(
    own: Kubernetes, operator: Operator, resources: Resources, namespace: str
) -> None:
    own.freeze_api_server()
    try:
        eventually(lambda: not operator.leads, within=30)
        assert operator.healthy()
    finally:
        own.thaw_api_server()
    resources.apply(route("after", pools=["none"]))
    resources.expect("mroute", "after", within=90, Ready=("False", "PoolNotFound"))


def test_resources_deleted_while_no_operator_ran_are_gone_when_one_starts(
    installation: Installation, resources: Resources, namespace: str
) -> None:
    first = installation.operator("first").lead()
    resources.apply(route("chat", pools=["none"]))
    eventually(lambda: resources.names("deployment"))
    first.stop()
    resources.delete("mroute", "chat")
    installation.operator("second").lead()
    eventually(lambda: not resources.names("deployment"))


def test_definitions_that_come_later_are_waited_for(
    own: Kubernetes, operator: Operator, resources: Resources, namespace: str
) -> None:
    """Somebody deletes the definitions and installs them again."""
    resources.apply(route("chat", pools=["none"]))
    resources.expect("mroute", "chat", Ready=("False", "PoolNotFound"))
    definitions = ("modelroutes.modelrouter.dev", "modelpools.modelrouter.dev")
    saved = [own.get("crd", name) for name in definitions]
    own.kubectl("delete", "crd", *definitions)
    for definition in saved:
        for field in ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"):
            definition["metadata"].pop(field, None)
        definition.pop("status", None)
    time.sleep(3)
    assert operator.alive
    own.apply(*saved)
    own.establish(*(f"crd/{name}" for name in definitions))
    eventually(lambda: not resources.names("mroute"))
    resources.apply(route("again", pools=["none"]))
    resources.expect("mroute", "again", within=90, Ready=("False", "PoolNotFound"))


def test_routers_do_not_notice_that_the_operator_is_away(
    installation: Installation, resources: Resources, router_pods: RouterPods
) -> None:
    operator, server = installation.operator().lead(), ModelServer()
    resources.apply(pool("llama", server.address, model="m"), route("chat", pools=["llama"]))
    (pod,) = router_pods.start()
    resources.expect("mroute", "chat", within=60, Ready=("True", "Ready"))
    version = pod.version()
    operator.kill()
    pod.stop()
    pod.start()
    eventually(pod.is_ready, within=60)
    assert pod.version() == version
