"""Values that the chart refuses, with a message that says what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.control_plane.chart.rendering import CHART, Object, operator_config, render, the, write
from cluster.kubernetes.access import KubectlError, Kubernetes

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
