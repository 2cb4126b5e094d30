"""What single values of the chart change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cluster.control_plane.chart.rendering import (
    TOGGLES,
    Object,
    of_kind,
    operator_config,
    render,
    rules,
    the,
)
from cluster.kubernetes.access import Kubernetes
from modelrouter.api.operator_config import SecretAccess


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
