"""The chart as `helm template` renders it, under each of its toggles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from cluster.kubernetes.access import Kubernetes
from modelrouter.api.operator_config import OperatorConfig, read_operator_config

CHART = Path(__file__).resolve().parents[4] / "charts" / "model-router"

Object = dict[str, Any]

TOGGLES: dict[str, Object] = {
    "defaults": {},
    "named-secrets": {"rbac": {"secretAccess": "named", "secretNames": ["openai", "eu.example"]}},
    "no-secrets": {"rbac": {"secretAccess": "named"}},
    "two-namespaces": {
        "watchNamespaces": ["team-a", "team-b", "team-a"],
        "metrics": {"podMonitor": {"enabled": True}},
    },
    "rbac-by-hand": {
        "rbac": {"create": False},
        "serviceAccount": {"create": False, "name": "mine"},
    },
    "no-aggregation": {"rbac": {"aggregateRoles": False}},
    "account": {
        "serviceAccount": {"name": "mine", "annotations": {"example.com/role": "reader"}},
    },
    "no-crds": {"crds": {"install": False}},
    "crds-not-kept": {"crds": {"keep": False}},
    "crds-annotated": {"crds": {"annotations": {"argocd.argoproj.io/sync-wave": "-1"}}},
    "monitors": {
        "metrics": {
            kind: {"enabled": True, "interval": "15s", "labels": {"release": "prometheus"}}
            for kind in ("serviceMonitor", "podMonitor")
        },
    },
    "rules-and-dashboard": {
        "metrics": {
            "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
            "dashboard": {"enabled": True, "annotations": {"grafana_folder": "Models"}},
        },
    },
    "network-policy": {"networkPolicy": {"enabled": True}},
    "network-policy-narrow": {
        "networkPolicy": {
            "enabled": True,
            "apiServerPorts": [8443],
            "metricsFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
            "egress": [{"ports": [{"port": 9090}]}],
        },
    },
    "one-pod": {"operator": {"replicas": 1, "podDisruptionBudget": {"enabled": False}}},
    "images": {
        "image": {"repository": "registry.example:5000/mr", "tag": "1.2", "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "registry"}],
        "routers": {
            "envoyImage": "registry.example:5000/envoy:v1.40.0",
            "imagePullSecrets": ["registry"],
        },
    },
    "digest": {"image": {"digest": "sha256:" + "0123456789abcdef" * 4}},
    "named-otherwise": {"fullnameOverride": "llm-router"},
    "pods": {
        "operator": {
            "logLevel": "debug",
            "logFormat": "text",
            "leaderElection": {
                "leaseDuration": "30s",
                "renewDeadline": "20s",
                "retryPeriod": "500ms",
            },
            "podAnnotations": {"example.com/a": "b"},
            "podLabels": {"example.com/team": "ml"},
            "env": [{"name": "NO_PROXY", "value": "10.0.0.0/8"}],
            "nodeSelector": {"kubernetes.io/arch": "amd64"},
            "tolerations": [{"key": "infra", "operator": "Exists", "effect": "NoSchedule"}],
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [
                            {"matchExpressions": [{"key": "infra", "operator": "Exists"}]}
                        ]
                    }
                }
            },
            "topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
            ],
            "priorityClassName": "system-cluster-critical",
        },
    },
    "routers": {
        "routers": {
            "replicas": 3,
            "agentImage": "registry.example/agent:1",
            "agentResources": {"requests": {"cpu": 1}, "limits": {"memory": "1Gi"}},
            "envoyResources": {"limits": {"cpu": "1500m"}},
            "envoyConcurrency": 4,
            "logLevel": "debug",
            "terminationGracePeriodSeconds": 3600,
            "serviceType": "LoadBalancer",
            "serviceAnnotations": {"example.com/internal": "true"},
            "podAnnotations": {"example.com/a": "b"},
            "podLabels": {"example.com/team": "ml"},
            "nodeSelector": {"kubernetes.io/arch": "amd64"},
            "tolerations": [{"key": "infra", "operator": "Exists", "tolerationSeconds": 5}],
            "priorityClassName": "important",
        },
    },
}


def render(
    kubernetes: Kubernetes,
    values: Object,
    folder: Path,
    *arguments: str,
    release: str = "model-router",
    namespace: str = "model-router",
) -> list[Object]:
    """The objects that an installation with these values consists of."""
    text = kubernetes.helm(
        "template",
        release,
        str(CHART),
        *("--namespace", namespace, "--values", str(write(values, folder)), *arguments),
    )
    return [document for document in yaml.safe_load_all(text) if document]


def write(values: Object, folder: Path) -> Path:
    """A file of values for helm."""
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    """Those of one kind."""
    return [found for found in objects if found["kind"] == kind]


def the(objects: list[Object], kind: str) -> Object:
    """The only one of its kind."""
    (found,) = of_kind(objects, kind)
    return found


def operator_config(objects: list[Object]) -> OperatorConfig:
    """What the operator is started with."""
    (text,) = (
        found["data"]["operator.yaml"]
        for found in of_kind(objects, "ConfigMap")
        if "operator.yaml" in found["data"]
    )
    return read_operator_config(text, "operator.yaml")


def rules(objects: list[Object]) -> list[dict[str, Any]]:
    """All that the installation's roles allow."""
    found = of_kind(objects, "ClusterRole") + of_kind(objects, "Role")
    return [rule for role in found for rule in role["rules"]]
