"""Telling whether an object in the cluster still is what was planned."""

from __future__ import annotations

from typing import Any

import pytest

from modelrouter.controller.drift import differs

MANAGER = "model-router-operator"


def deployment() -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a", "namespace": "b", "labels": {"x": "1"}},
        "spec": {
            "replicas": 2,
            "template": {
                "spec": {
                    "containers": [
                        {
                            "name": "envoy",
                            "args": ["-c", "/f"],
                            "ports": [{"containerPort": 8080, "name": "http"}],
                            "resources": {"limits": {"cpu": "0.5", "memory": "1024Mi"}},
                        }
                    ],
                    "volumes": [{"name": "run", "emptyDir": {"medium": "Memory"}}],
                    "tolerations": [{"key": "gpu", "operator": "Exists"}],
                }
            },
        },
    }


def live() -> dict[str, Any]:
    """As the API server has it: with defaults, amounts its own way and fields of others."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "a",
            "namespace": "b",
            "uid": "u",
            "labels": {"x": "1", "foreign": "2"},
            "annotations": {"deployment.kubernetes.io/revision": "1"},
            "managedFields": [
                {"manager": "kubectl", "operation": "Update", "fieldsV1": {}},
                {
                    "manager": MANAGER,
                    "operation": "Apply",
                    "fieldsV1": {
                        "f:metadata": {"f:labels": {"f:x": {}}},
                        "f:spec": {
                            "f:replicas": {},
                            "f:template": {
                                "f:spec": {
                                    "f:containers": {
                                        'k:{"name":"envoy"}': {
                                            ".": {},
                                            "f:name": {},
                                            "f:args": {},
                                            "f:ports": {
                                                'k:{"containerPort":8080,"protocol":"TCP"}': {
                                                    ".": {},
                                                    "f:containerPort": {},
                                                    "f:name": {},
                                                }
                                            },
                                            "f:resources": {
                                                "f:limits": {"f:cpu": {}, "f:memory": {}}
                                            },
                                        }
                                    },
                                    "f:volumes": {
                                        'k:{"name":"run"}': {
                                            ".": {},
                                            "f:name": {},
                                            "f:emptyDir": {"f:medium": {}},
                                        }
                                    },
                                    "f:tolerations": {},
                                }
                            },
                        },
                    },
                },
            ],
        },
        "spec": {
            "replicas": 2,
            "progressDeadlineSeconds": 600,
            "template": {
                "spec": {
                    "containers": [
                        {"name": "injected"},
                        {
                            "name": "envoy",
                            "args": ["-c", "/f"],
                            "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}],
                            "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}},
                            "terminationMessagePath": "/dev/termination-log",
                        },
                    ],
                    "volumes": [{"name": "run", "emptyDir": {"medium": "Memory"}}],
                    "tolerations": [{"key": "gpu", "operator": "Exists"}],
                    "schedulerName": "default-scheduler",
                }
            },
        },
        "status": {"replicas": 2},
    }


def owned(obj: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = obj["metadata"]["managedFields"][1]["fieldsV1"]
    return fields


def container(obj: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = obj["spec"]["template"]["spec"]["containers"][-1]
    return found


def test_defaults_and_what_others_set_are_no_difference() -> None:
    assert differs(deployment(), live(), MANAGER) == ""


def test_a_changed_plan_differs() -> None:
    planned = deployment()
    planned["spec"]["replicas"] = 3
    assert differs(planned, live(), MANAGER) == "spec.replicas"


def test_a_new_field_differs() -> None:
    planned = deployment()
    planned["spec"]["template"]["spec"]["priorityClassName"] = "high"
    assert differs(planned, live(), MANAGER) == "spec.template.spec.priorityClassName"


def test_a_field_not_planned_any_more_differs() -> None:
    planned = deployment()
    del planned["spec"]["template"]["spec"]["tolerations"]
    assert differs(planned, live(), MANAGER) == "spec.template.spec.tolerations"


def test_a_field_that_somebody_took_over_differs() -> None:
    edited = live()
    edited["spec"]["replicas"] = 5
    del owned(edited)["f:spec"]["f:replicas"]
    assert differs(deployment(), edited, MANAGER) == "spec.replicas"


def test_a_label_that_somebody_removed_differs() -> None:
    edited = live()
    del edited["metadata"]["labels"]["x"]
    del owned(edited)["f:metadata"]
    assert differs(deployment(), edited, MANAGER) == "metadata"


def test_a_container_that_is_not_planned_any_more_differs() -> None:
    planned = deployment()
    planned["spec"]["template"]["spec"]["containers"] = []
    assert differs(planned, live(), MANAGER) == "spec.template.spec.containers"


def test_a_list_without_keys_is_compared_as_one_value() -> None:
    edited = live()
    edited["spec"]["template"]["spec"]["tolerations"].append({"key": "other"})
    assert differs(deployment(), edited, MANAGER) == "spec.template.spec.tolerations"
    edited = live()
    container(edited)["args"] = ["-c", "/other"]
    assert differs(deployment(), edited, MANAGER).endswith("containers[envoy].args[1]")


@pytest.mark.parametrize("amount", ["0.6", "5", "1Gi"])
def test_amounts_are_compared_by_size(amount: str) -> None:
    edited = live()
    container(edited)["resources"]["limits"]["cpu"] = amount
    assert differs(deployment(), edited, MANAGER).endswith("resources.limits.cpu")


def test_text_is_never_compared_as_an_amount() -> None:
    planned, edited = deployment(), live()
    planned["metadata"]["labels"]["x"] = "1.0"
    assert differs(planned, edited, MANAGER) == "metadata.labels.x"


def test_an_object_that_we_never_applied_differs() -> None:
    foreign = live()
    foreign["metadata"]["managedFields"] = foreign["metadata"]["managedFields"][:1]
    assert differs(deployment(), foreign, MANAGER) == "metadata.managedFields"


def test_ownership_of_the_status_is_kept_apart() -> None:
    obj = live()
    obj["status"] = {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other"}]}
    obj["metadata"]["managedFields"].append(
        {
            "manager": MANAGER,
            "operation": "Apply",
            "subresource": "status",
            "fieldsV1": {
                "f:status": {
                    "f:conditions": {'k:{"type":"Ready"}': {".": {}, "f:type": {}, "f:status": {}}}
                }
            },
        }
    )
    planned = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert differs(planned, obj, MANAGER, "status") == ""
    planned["status"]["conditions"][0]["status"] = "False"
    assert differs(planned, obj, MANAGER, "status") == "status.conditions[Ready].status"
