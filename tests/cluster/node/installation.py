"""The chart and the example, installed as the documentation says, and what runs then."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from cluster.kubernetes.access import Kubernetes
from cluster.kubernetes.images import ROOT
from cluster.node.workloads import Workloads
from cluster.secrecy import planted

RELEASE = "model-router"
SYSTEM = "model-router-system"
CHART = ROOT / "charts" / "model-router"
EXAMPLE = ROOT / "examples" / "kubernetes"
MODEL = "support-assistant"
ROUTER = "model-router-default"
_EXAMPLE_NAMESPACE = "default"
_EXAMPLE_KEY = "not-a-real-key"


def install_operator(kubernetes: Kubernetes, *arguments: str) -> None:
    """`helm install`, or an upgrade, of the chart in this checkout."""
    kubernetes.helm(
        "upgrade", "--install", RELEASE, str(CHART), "--namespace", SYSTEM, "--create-namespace",
        "--wait", "--timeout=120s", *arguments,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Routed:
    """The example in a namespace, and its router."""

    workloads: Workloads
    key: str = field(default_factory=planted)
    """Of the provider, which asks for it."""

    @property
    def kubernetes(self) -> Kubernetes:
        """The cluster."""
        return self.workloads.kubernetes

    @property
    def base_url(self) -> str:
        """Of the OpenAI API at the router's Service, by its address."""
        return f"{self.workloads.service_url(ROUTER, 8080)}/v1"

    def apply(self) -> None:
        """`kubectl apply -f examples/kubernetes/`; the provider is in this namespace."""
        for path in sorted(EXAMPLE.glob("*.yaml")):
            text = path.read_text(encoding="utf-8").replace(
                f".{_EXAMPLE_NAMESPACE}.svc", f".{self.workloads.namespace}.svc"
            )
            text = text.replace(_EXAMPLE_KEY, self.key)
            self.kubernetes.kubectl(
                "apply", "--server-side", "-n", self.workloads.namespace, "-f", "-", input=text
            )

    def wait_until_ready(self) -> None:
        """Routes and pools say so, and every pod."""
        self.workloads.kubectl(
            "wait", "--for=condition=Ready", "mroute,mpool", "--all", "--timeout=120s"
        )
        for deployment in self.workloads.get("deployments")["items"]:
            name = deployment["metadata"]["name"]
            self.workloads.kubectl("rollout", "status", f"deployment/{name}", "--timeout=120s")

    def pods(self, selector: str) -> list[str]:
        """Names of pods that are not on their way out."""
        listed = self.workloads.get("pods", "-l", selector)["items"]
        return [pod["metadata"]["name"] for pod in listed if not _goes(pod)]

    def evict(self, pod: str, namespace: str = "") -> bool:
        """As `kubectl drain` does. False if a PodDisruptionBudget does not allow it just now."""
        namespace = namespace or self.workloads.namespace
        metadata = {"name": pod, "namespace": namespace}
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
        said = self.kubernetes.kubectl(
            "create", "--raw", path, "-f", "-", input=json.dumps(eviction), check=False
        )
        if "disruption budget" in said:
            return False
        assert '"Success"' in said, said
        return True


def _goes(pod: dict[str, Any]) -> bool:
    return "deletionTimestamp" in pod["metadata"]
