"""`helm template` under every toggle: valid, least privilege, and read by the operator."""

from __future__ import annotations

import inspect
import json
import subprocess
from pathlib import Path

import pytest
import yaml

from cluster.control_plane.chart.rendering import (
    CHART,
    TOGGLES,
    Object,
    of_kind,
    operator_config,
    render,
    rules,
    the,
)
from cluster.kubernetes.access import KubectlError, Kubernetes
from modelrouter.cli import run_operator

ROOT = CHART.parents[1]


@pytest.fixture(params=TOGGLES, ids=str)
def objects(request: pytest.FixtureRequest, kubernetes: Kubernetes, tmp_path: Path) -> list[Object]:
    """What is installed under each toggle."""
    return render(kubernetes, TOGGLES[request.param], tmp_path)


def test_helm_lint_finds_nothing(kubernetes: Kubernetes, tmp_path: Path) -> None:
    said = kubernetes.helm("lint", "--strict", str(CHART))
    assert "0 chart(s) failed" in said
    assert "[WARNING]" not in said


def kubeconform(
    kubernetes: Kubernetes, objects: list[Object], schema_location: str
) -> tuple[dict[str, int], str]:
    """Its summary and all it said."""
    done = subprocess.run(
        [
            *("kubeconform", "-strict", "-summary", "-output", "json"),
            *("-schema-location", schema_location),
        ],
        env=kubernetes.environment,
        input=yaml.safe_dump_all(objects),
        capture_output=True,
        text=True,
        check=False,
    )
    return json.loads(done.stdout)["summary"], done.stdout


def test_kubeconform_knows_every_field(
    kubernetes: Kubernetes, objects: list[Object], schema_location: str
) -> None:
    summary, said = kubeconform(kubernetes, objects, schema_location)
    valid = {"valid": len(objects), "invalid": 0, "errors": 0, "skipped": 0}
    assert summary == valid, said


def test_kubeconform_would_find_an_unknown_field(
    kubernetes: Kubernetes, default_objects: list[Object], schema_location: str
) -> None:
    the(default_objects, "Deployment")["spec"]["template"]["spec"]["hostNetwrk"] = True
    summary, said = kubeconform(kubernetes, default_objects, schema_location)
    assert summary["invalid"] == 1
    assert "hostNetwrk" in said


def test_the_operator_reads_its_configuration(objects: list[Object]) -> None:
    config = operator_config(objects)
    assert config.leader_election.namespace == "model-router"
    assert config.routers.agent_image


def test_no_rule_is_wider_than_it_must_be(objects: list[Object]) -> None:
    for rule in rules(objects):
        assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
        assert not set(rule["verbs"]) & {"escalate", "bind", "impersonate"}
        if "secrets" in rule["resources"]:
            assert rule["resources"] == ["secrets"]
            assert rule["verbs"] == ["get", "list", "watch"]


def test_every_object_carries_the_labels_of_the_release(objects: list[Object]) -> None:
    for found in objects:
        labels = found["metadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == "model-router-operator"
        # Clean-up by this label must meet routers' objects only.
        assert labels["app.kubernetes.io/managed-by"] == "Helm"


def test_no_object_can_meet_one_of_a_router(objects: list[Object]) -> None:
    for found in objects:
        if found["kind"] not in ("ClusterRole", "CustomResourceDefinition", "PodMonitor"):
            assert not found["metadata"]["name"].startswith("model-router-")


def test_the_selector_finds_the_pods_and_only_them(objects: list[Object]) -> None:
    deployment = the(objects, "Deployment")["spec"]
    selector = deployment["selector"]["matchLabels"]
    assert selector.items() <= deployment["template"]["metadata"]["labels"].items()
    for kind in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
        for found in of_kind(objects, kind):
            spec = found["spec"]
            chosen = spec.get("podSelector") or spec["selector"]
            assert chosen.get("matchLabels", chosen) == selector


def test_pods_meet_the_restricted_standard(
    kubernetes: Kubernetes, namespace: str, default_objects: list[Object]
) -> None:
    """The API server's own admission says so: it would refuse the pod."""
    enforce = "pod-security.kubernetes.io/enforce=restricted"
    kubernetes.kubectl("label", "namespace", namespace, enforce)
    template = the(default_objects, "Deployment")["spec"]["template"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "operator", "namespace": namespace},
        "spec": template["spec"] | {"serviceAccountName": "default"},
    }
    apply = ("apply", "--dry-run=server", "-f", "-")
    kubernetes.kubectl(*apply, input=json.dumps(pod))
    container = pod["spec"]["containers"][0]
    container["securityContext"] = {**container["securityContext"], "capabilities": {}}
    with pytest.raises(KubectlError, match="unrestricted capabilities"):
        kubernetes.kubectl(*apply, input=json.dumps(pod))


def test_crds_are_those_of_the_repository(default_objects: list[Object]) -> None:
    installed = {
        crd["metadata"]["name"]: crd for crd in of_kind(default_objects, "CustomResourceDefinition")
    }
    assert len(installed) == 2
    for path in (ROOT / "crds").glob("*.yaml"):
        crd = yaml.safe_load(path.read_text())
        found = installed[crd["metadata"]["name"]]
        assert found["spec"] == crd["spec"]
        assert json.dumps(found["spec"], sort_keys=True) == json.dumps(crd["spec"], sort_keys=True)
        assert found["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_the_container_runs_the_operator(default_objects: list[Object]) -> None:
    """The command line takes these arguments, and probes ask where it listens by default."""
    spec = the(default_objects, "Deployment")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    command, option, path = container["args"]
    parameters = inspect.signature(run_operator).parameters
    assert (command, option) == ("operator", "--config")
    assert "config" in parameters
    mounted = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    (volume,) = spec["volumes"]
    config = the(default_objects, "ConfigMap")
    assert volume["configMap"]["name"] == config["metadata"]["name"]
    assert path.removeprefix(f"{mounted[volume['name']]}/") in config["data"]
    (port,) = container["ports"]
    assert parameters["listen"].default.endswith(f":{port['containerPort']}")
