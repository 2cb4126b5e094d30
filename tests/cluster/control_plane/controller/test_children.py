"""The objects of a router: made, kept as planned, and taken away with the last route."""

from __future__ import annotations

import json

from cluster.control_plane.controller.operators import Installation, Operator
from cluster.control_plane.controller.resources import Resources
from cluster.control_plane.controller.waiting import eventually
from component.router.manifests import pool, route

NAME = "model-router-default"
KINDS = (
    "deployment",
    "service",
    "serviceaccount",
    "role",
    "rolebinding",
    "poddisruptionbudget",
)
CONFIG = f"{NAME}-config-0"


def applied(here: Resources) -> None:
    """One route with its pool, and its router's objects."""
    here.apply(pool("llama", "10.0.0.1:8000", model="m"), route("chat", pools=["llama"]))
    eventually(lambda: NAME in here.names("deployment"))


def test_a_route_brings_the_objects_of_its_router(operator: Operator, resources: Resources) -> None:
    applied(resources)
    for kind in KINDS:
        eventually(lambda kind=kind: NAME in resources.names(kind))
    data = resources.get("configmap", CONFIG)["data"]
    assert sorted(data) == ["pool.llama", "route.chat"]
    assert json.loads(data["route.chat"])["models"] == ["chat"]


def test_what_was_applied_once_is_not_applied_again(
    operator: Operator, resources: Resources, installation: Installation
) -> None:
    """Whatever the API server makes of our objects must not look like a difference."""
    applied(resources)
    operator.settle()
    count = len(installation.writes())
    # The Deployment's status changes by itself, and annotations by its controller.
    resources.kubernetes.kubectl(
        "annotate", "deployment", NAME, "example.com/touched=1", "-n", resources.namespace
    )
    resources.kubernetes.kubectl(
        "label", "configmap", CONFIG, "example.com/touched=1", "-n", resources.namespace
    )
    operator.settle()
    assert installation.writes(since=count) == []


def test_children_edited_by_hand_are_put_back_and_foreign_fields_are_kept(
    operator: Operator, resources: Resources, namespace: str
) -> None:
    here, kubectl = resources, resources.kubernetes.kubectl
    applied(here)
    operator.settle()
    for kind in ("deployment", "service", "role"):
        kubectl("annotate", kind, NAME, "example.com/foreign=kept", "-n", namespace)
        kubectl("label", kind, NAME, "example.com/foreign=kept", "-n", namespace)
        kubectl("label", kind, NAME, "app.kubernetes.io/part-of=other", "--overwrite",
                "-n", namespace)  # fmt: skip
    kubectl("scale", "deployment", NAME, "--replicas=7", "-n", namespace)
    kubectl("patch", "service", NAME, "-n", namespace, "--type=json", "-p",
            '[{"op": "replace", "path": "/spec/ports/0/port", "value": 9090}]')  # fmt: skip
    kubectl("patch", "role", NAME, "-n", namespace, "--type=merge", "-p", '{"rules": []}')
    kubectl("patch", "deployment", NAME, "-n", namespace, "--type=json", "-p",
            '[{"op": "replace", "path": "/spec/template/spec/containers/0/image",'
            ' "value": "evil"}]')  # fmt: skip

    def put_back() -> bool:
        deployment = here.get("deployment", NAME)
        service, role = here.get("service", NAME), here.get("role", NAME)
        assert deployment["spec"]["replicas"] == 2
        assert "evil" not in json.dumps(deployment["spec"])
        assert [port["port"] for port in service["spec"]["ports"]] == [8080]
        assert role["rules"]
        for obj in (deployment, service, role):
            labels = obj["metadata"]["labels"]
            assert labels["app.kubernetes.io/part-of"] == "model-router-operator"
            assert labels["example.com/foreign"] == "kept"
            assert obj["metadata"]["annotations"]["example.com/foreign"] == "kept"
        return True

    eventually(put_back)


def test_configuration_edited_by_hand_is_put_back(
    operator: Operator, resources: Resources, namespace: str
) -> None:
    here, kubectl = resources, resources.kubernetes.kubectl
    applied(here)
    operator.settle()
    before = here.get("configmap", CONFIG)["data"]
    edits = {
        "route.chat": "{}",  # changed
        "route.smuggled": before["route.chat"],  # added
        "notes": "somebody else's",  # not an entry: none of our business
    }
    kubectl("patch", "configmap", CONFIG, "-n", namespace, "--type=merge", "-p",
            json.dumps({"data": edits}))  # fmt: skip
    wanted = {**before, "notes": "somebody else's"}
    eventually(lambda: here.get("configmap", CONFIG)["data"] == wanted)
    kubectl("patch", "configmap", CONFIG, "-n", namespace, "--type=merge", "-p",
            '{"data": {"pool.llama": null}}')  # fmt: skip
    eventually(lambda: here.get("configmap", CONFIG)["data"] == wanted)


def test_children_deleted_by_hand_come_back(
    operator: Operator, resources: Resources, namespace: str
) -> None:
    here = resources
    applied(here)
    operator.settle()
    for kind in KINDS:
        here.delete(kind, NAME)
    here.delete("configmap", CONFIG)
    for kind in KINDS:
        eventually(lambda kind=kind: NAME in here.names(kind))
    eventually(lambda: CONFIG in here.names("configmap"))


def test_nothing_of_a_parent_s_labels_and_annotations_reaches_a_child(
    operator: Operator, resources: Resources, namespace: str
) -> None:
    tracked = {
        "labels": {"argocd.argoproj.io/instance": "shop", "app.kubernetes.io/instance": "shop"},
        "annotations": {"argocd.argoproj.io/tracking-id": "shop:modelrouter.dev/ModelRoute:x/y"},
    }
    objects = [pool("llama", "10.0.0.1:8000", model="m"), route("chat", pools=["llama"])]
    for obj in objects:
        obj["metadata"] |= tracked
    resources.apply(*objects)
    eventually(lambda: NAME in resources.names("deployment"))
    operator.settle()
    for kind in (*KINDS, "configmap"):
        for obj in resources.all(kind):
            if not obj["metadata"]["name"].startswith(NAME):
                continue
            text = json.dumps(obj)
            assert "argocd" not in text
            assert '"shop"' not in text


def test_routes_share_a_router_and_the_last_one_takes_it_away(
    operator: Operator, resources: Resources, namespace: str
) -> None:
    here = resources
    applied(here)
    here.apply(route("second", pools=["llama"]), route("other", pools=["llama"], router="edge"))
    eventually(lambda: "model-router-edge" in here.names("deployment"))
    here.delete("mroute", "chat")
    operator.settle()
    assert NAME in here.names("deployment")
    eventually(lambda: "route.chat" not in here.get("configmap", CONFIG)["data"])
    here.delete("mroute", "second")

    def gone() -> bool:
        for kind in (*KINDS, "configmap"):
            assert not [name for name in here.names(kind) if name.startswith(NAME)]
        return True

    eventually(gone)
    assert "model-router-edge" in here.names("deployment")
    assert here.get("mpool", "llama")["spec"]


def test_a_route_moves_from_one_router_to_another(
    operator: Operator, resources: Resources, namespace: str
) -> None:
    here = resources
    applied(here)
    here.apply(route("chat", pools=["llama"], router="edge"))
    eventually(lambda: NAME not in here.names("deployment"))
    eventually(lambda: "model-router-edge" in here.names("deployment"))


def test_a_namespace_is_deleted_without_waiting_for_the_operator(
    operator: Operator, resources: Resources, namespace: str
) -> None:
    applied(resources)
    operator.stop()
    resources.kubernetes.kubectl("delete", "namespace", namespace, "--timeout=60s")
    resources.kubernetes.kubectl("create", "namespace", namespace)  # for the fixture to delete
