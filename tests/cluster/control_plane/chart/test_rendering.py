"""`helm template` under every toggle: valid, least privilege, and read by the operator."""

from __future__ import annotations

import inspect
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.control_plane.chart.rendering import (
    CHART,
    TOGGLES,
    Object,
    of_kind,
    render,
    the,
    write,
)
from cluster.kubernetes.access import KubectlError, Kubernetes
from modelrouter.api.operator_config import OperatorConfig, SecretAccess, read_operator_config
from modelrouter.cli import run_operator
from modelrouter.plan.deployment import plan_deployment
from modelrouter.plan.naming import ADMIN_PORT
from modelrouter.plan.vllm.naming import PORT as MODEL_PORT
from modelrouter.plan.vllm.naming import pool_labels

ROOT = CHART.parents[1]


def operator_config(objects: list[Object]) -> OperatorConfig:
    (text,) = (
        found["data"]["operator.yaml"]
        for found in of_kind(objects, "ConfigMap")
        if "operator.yaml" in found["data"]
    )
    return read_operator_config(text, "operator.yaml")


def rules(objects: list[Object]) -> list[dict[str, Any]]:
    found = of_kind(objects, "ClusterRole") + of_kind(objects, "Role")
    return [rule for role in found for rule in role["rules"]]


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


def test_switches_of_the_crds(kubernetes: Kubernetes, tmp_path: Path) -> None:
    def crds(toggle: str) -> list[Object]:
        return of_kind(render(kubernetes, TOGGLES[toggle], tmp_path), "CustomResourceDefinition")

    assert crds("no-crds") == []
    for crd in crds("crds-not-kept"):
        assert "helm.sh/resource-policy" not in crd["metadata"]["annotations"]
    for crd in crds("crds-annotated"):
        assert crd["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"] == "-1"
        assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_watched_namespaces_leave_nothing_cluster_wide(
    kubernetes: Kubernetes, tmp_path: Path
) -> None:
    objects = render(kubernetes, TOGGLES["two-namespaces"], tmp_path)
    assert operator_config(objects).namespaces == ["team-a", "team-b"]
    assert of_kind(objects, "ClusterRoleBinding") == []
    where = sorted(role["metadata"]["namespace"] for role in of_kind(objects, "Role"))
    assert where == ["model-router", "team-a", "team-b"]
    monitor = the(objects, "PodMonitor")
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["team-a", "team-b"]}


@pytest.mark.parametrize(
    ("toggle", "access", "names"),
    [
        ("defaults", SecretAccess.ALL, [None]),
        ("named-secrets", SecretAccess.NAMED, [["openai", "eu.example"]]),
        ("no-secrets", SecretAccess.NAMED, []),
    ],
)
def test_secret_access_is_the_same_in_role_and_configuration(
    kubernetes: Kubernetes, tmp_path: Path, toggle: str, access: SecretAccess, names: list[Any]
) -> None:
    objects = render(kubernetes, TOGGLES[toggle], tmp_path)
    config = operator_config(objects)
    assert config.secret_access is access
    granted = [
        rule.get("resourceNames") for rule in rules(objects) if "secrets" in rule["resources"]
    ]
    assert granted == names
    if names and names[0]:
        assert config.secret_names == names[0]


def test_images_reach_operator_and_routers(kubernetes: Kubernetes, tmp_path: Path) -> None:
    objects = render(kubernetes, TOGGLES["images"], tmp_path)
    container = the(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    routers = operator_config(objects).routers
    assert container["image"] == routers.agent_image == "registry.example:5000/mr:1.2"
    assert container["imagePullPolicy"] == routers.image_pull_policy == "Always"
    assert routers.envoy_image == "registry.example:5000/envoy:v1.40.0"
    digest = render(kubernetes, TOGGLES["digest"], tmp_path)
    assert operator_config(digest).routers.agent_image.startswith(
        "ghcr.io/modelrouter/model-router-operator@sha256:0123"
    )


def test_router_settings_reach_the_operator(kubernetes: Kubernetes, tmp_path: Path) -> None:
    objects = render(kubernetes, TOGGLES["routers"], tmp_path)
    said = operator_config(objects).routers.model_dump(by_alias=True, mode="json")
    given = TOGGLES["routers"]["routers"]
    said_again = {name: said[name] for name in given}
    assert said_again["agentResources"]["requests"].pop("cpu") == "1"
    # Maps are merged with the defaults, as helm does.
    assert said_again["agentResources"].pop("requests") == {"memory": "128Mi"}
    assert said_again["agentResources"] == {"limits": {"memory": "1Gi"}}
    assert said_again["envoyResources"]["limits"] == {"cpu": "1500m", "memory": "1Gi"}
    for name in given.keys() - {"agentResources", "envoyResources"}:
        assert said_again[name] == given[name]


def test_changed_settings_take_new_pods(kubernetes: Kubernetes, tmp_path: Path) -> None:
    """And a ConfigMap that no node can have an older copy of."""

    def config(values: Object) -> str:
        objects = render(kubernetes, values, tmp_path)
        (volume,) = the(objects, "Deployment")["spec"]["template"]["spec"]["volumes"]
        config_map = the(objects, "ConfigMap")
        assert config_map["immutable"] is True
        assert volume["configMap"]["name"] == config_map["metadata"]["name"]
        return str(config_map["metadata"]["name"])

    assert config({}) == config({"metrics": {"podMonitor": {"enabled": True}}})
    assert config({}) != config({"routers": {"replicas": 3}})


def test_monitors_and_policies_find_the_pods_of_routers(
    kubernetes: Kubernetes, tmp_path: Path
) -> None:
    objects = render(
        kubernetes,
        {"networkPolicy": {"enabled": True}, "metrics": {"podMonitor": {"enabled": True}}},
        tmp_path,
    )
    routers = operator_config(objects).routers
    deployment = plan_deployment("default", "ai", routers)
    pod = deployment["spec"]["template"]
    ports = {
        port["name"]: port["containerPort"]
        for container in pod["spec"]["initContainers"] + pod["spec"]["containers"]
        for port in container["ports"]
    }
    monitor = the(objects, "PodMonitor")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert [ports[endpoint["port"]] for endpoint in monitor["podMetricsEndpoints"]] == [ADMIN_PORT]
    assert set(monitor["podTargetLabels"]) <= set(pod["metadata"]["labels"])
    to_routers, to_servers = the(objects, "NetworkPolicy")["spec"]["egress"][-2:]
    assert to_routers["ports"] == [{"port": ADMIN_PORT}]
    selector = to_routers["to"][0]["podSelector"]["matchLabels"]
    assert selector.items() <= pod["metadata"]["labels"].items()
    assert to_servers["ports"] == [{"port": MODEL_PORT}]
    selector = to_servers["to"][0]["podSelector"]["matchLabels"]
    assert selector.items() <= pool_labels("llama").items()


def test_alerts_and_dashboard_are_those_of_the_files(
    kubernetes: Kubernetes, tmp_path: Path
) -> None:
    wanted = {"prometheusRule": {"enabled": True}, "dashboard": {"enabled": True}}
    objects = render(kubernetes, {"metrics": wanted}, tmp_path)
    alerts = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    assert the(objects, "PrometheusRule")["spec"] == alerts
    (dashboard,) = (f for f in of_kind(objects, "ConfigMap") if "immutable" not in f)
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert dashboard["data"] == {
        "model-router.json": (CHART / "files" / "dashboard.json").read_text().rstrip()
    }
    assert {found["kind"] for found in objects} & {"PrometheusRule", "ServiceMonitor"} == {
        "PrometheusRule"
    }


def test_the_operators_metrics_keep_the_namespaces_that_they_tell_of(
    kubernetes: Kubernetes, tmp_path: Path
) -> None:
    objects = render(kubernetes, {"metrics": {"serviceMonitor": {"enabled": True}}}, tmp_path)
    assert [e["honorLabels"] for e in the(objects, "ServiceMonitor")["spec"]["endpoints"]] == [True]


def test_what_an_installation_lets_the_operator_reach_is_added_to_the_rest(
    kubernetes: Kubernetes, tmp_path: Path
) -> None:
    def egress(**policy: Any) -> list[Any]:
        objects = render(kubernetes, {"networkPolicy": {"enabled": True, **policy}}, tmp_path)
        found: list[Any] = the(objects, "NetworkPolicy")["spec"]["egress"]
        return found

    prometheus = {
        "ports": [{"port": 9090}],
        "to": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
    }
    assert egress(egress=[prometheus]) == [*egress(), prometheus]


def test_keda_is_allowed_and_told_the_operators_address_only_where_it_is_enabled(
    kubernetes: Kubernetes, tmp_path: Path, default_objects: list[Object]
) -> None:
    def groups(objects: list[Object]) -> set[str]:
        return {group for rule in rules(objects) for group in rule["apiGroups"]}

    assert "keda.sh" not in groups(default_objects)
    assert operator_config(default_objects).keda is None
    objects = render(kubernetes, {"keda": {"enabled": True}}, tmp_path)
    (rule,) = (rule for rule in rules(objects) if "keda.sh" in rule["apiGroups"])
    assert rule["resources"] == ["scaledobjects"]
    keda, service = operator_config(objects).keda, the(objects, "Service")
    assert keda is not None
    (port,) = service["spec"]["ports"]
    place = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
    assert keda.url == f"http://{place}:{port['port']}"


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


REFUSED: dict[str, tuple[Object, str]] = {
    "unknown value": ({"replicas": 3}, "additional properties 'replicas' not allowed"),
    "unknown router setting": ({"routers": {"replica": 3}}, "'replica' not allowed"),
    "secretAccess in capitals": ({"rbac": {"secretAccess": "All"}}, "'all', 'named'"),
    "names without named": ({"rbac": {"secretNames": ["a"]}}, "maxItems: got 1, want 0"),
    "secret name": (
        {"rbac": {"secretAccess": "named", "secretNames": ["Open AI"]}},
        "does not match pattern",
    ),
    "namespaces as text": ({"watchNamespaces": "team-a"}, "want array"),
    "namespace pattern": ({"watchNamespaces": ["team-*"]}, "does not match pattern"),
    "keda as a word": ({"keda": {"enabled": "yes"}}, "got string, want boolean"),
    "no replicas": ({"operator": {"replicas": 0}}, "minimum: got 0, want 1"),
    "replicas as text": ({"routers": {"replicas": "2"}}, "got string, want integer"),
    "log level": ({"operator": {"logLevel": "verbose"}}, "'debug', 'info', 'warning', 'error'"),
    "duration": (
        {"operator": {"leaderElection": {"leaseDuration": "15"}}},
        "does not match pattern",
    ),
    "seconds as a number": (
        {"operator": {"leaderElection": {"leaseDuration": 15}}},
        "got number, want string",
    ),
    "digest": ({"image": {"digest": "sha256:abc"}}, "does not match pattern"),
    "tag with a digest in it": ({"image": {"tag": "1@sha256:abc"}}, "does not match pattern"),
    "pull policy": ({"image": {"pullPolicy": "Sometimes"}}, "'IfNotPresent', 'Always', 'Never'"),
    "pull secret as text": ({"imagePullSecrets": ["registry"]}, "got string, want object"),
    "router's pull secret as object": (
        {"routers": {"imagePullSecrets": [{"name": "a"}]}},
        "got object, want string",
    ),
    "service type": ({"routers": {"serviceType": "ExternalName"}}, "'ClusterIP'"),
    "short grace": ({"routers": {"terminationGracePeriodSeconds": 5}}, "want 15"),
    "quantity": ({"routers": {"envoyResources": {"limits": {"cpu": "two"}}}}, "pattern"),
    "claims of routers": ({"routers": {"agentResources": {"claims": []}}}, "'claims' not allowed"),
    "number as annotation": ({"routers": {"podAnnotations": {"a": 1}}}, "want string"),
    "port": ({"networkPolicy": {"enabled": True, "apiServerPorts": [0]}}, "minimum"),
    "switch as text": ({"crds": {"install": "no"}}, "got string, want boolean"),
    "toleration": ({"operator": {"tolerations": [{"effct": "NoSchedule"}]}}, "not allowed"),
    "no account": ({"serviceAccount": {"create": False}}, "serviceAccount.name is needed"),
    "a router's name": ({"fullnameOverride": "model-router-a"}, "set fullnameOverride"),
}


@pytest.mark.parametrize(("values", "message"), REFUSED.values(), ids=REFUSED)
def test_wrong_values_are_refused(
    kubernetes: Kubernetes, tmp_path: Path, values: Object, message: str
) -> None:
    with pytest.raises(KubectlError) as raised:
        kubernetes.helm("template", "x", str(CHART), "--values", str(write(values, tmp_path)))
    assert message in str(raised.value)


def test_a_release_named_like_a_router_is_refused(kubernetes: Kubernetes, tmp_path: Path) -> None:
    with pytest.raises(KubectlError, match="set fullnameOverride to a name"):
        render(kubernetes, {}, tmp_path, release="model-router-default")
    named = render(kubernetes, {}, tmp_path, release="llm")
    assert the(named, "Deployment")["metadata"]["name"] == "llm-model-router"
    assert operator_config(named).leader_election.name == "llm-model-router-operator"
