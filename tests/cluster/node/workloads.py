"""Pods, simulated model servers and Services, as plain objects, and how a test reaches them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cluster.kubernetes.access import Kubernetes
from cluster.kubernetes.images import operator_image_name

Object = dict[str, Any]

MODEL_PORT = 8000
RESTRICTED: Object = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""The Pod Security Standard of that name, and a read-only root."""


@dataclass(frozen=True, slots=True)
class Workloads:
    """What a test runs in its namespace."""

    kubernetes: Kubernetes
    namespace: str

    def run(
        self,
        name: str,
        image: str,
        *,
        command: Sequence[str] = (),
        args: Sequence[str] = (),
        user: int | None = None,
    ) -> str:
        """Run a pod to its end and return what it printed.

        Raises:
            AssertionError: it failed; the message is what it printed.
        """
        container: Object = {
            "name": "main",
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "command": list(command),
            "args": list(args),
            "securityContext": RESTRICTED | {"runAsUser": user},
        }
        spec = {"restartPolicy": "Never", "containers": [container]}
        self.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
        path = "jsonpath={.status.containerStatuses[0].state.terminated.reason}"
        self.kubectl("wait", f"pod/{name}", f"--for={path}", "--timeout=60s")
        printed = self.kubectl("logs", name)
        assert self.kubectl("get", "pod", name, "-o", path) == "Completed", printed
        return printed

    def serve_model(
        self, name: str, model: str, *, replicas: int = 1, args: Sequence[str] = ()
    ) -> None:
        """Simulated model servers behind a Service of the same name, ready to answer."""
        self.apply(*model_servers(name, model, replicas=replicas, args=args))
        self.kubectl("rollout", "status", f"deployment/{name}", "--timeout=90s")

    def service_url(self, name: str, port: int) -> str:
        """Where a Service answers, inside the cluster's network."""
        address = self.kubectl("get", "service", name, "-o", "jsonpath={.spec.clusterIP}")
        return f"http://{address}:{port}"

    def apply(self, *objects: Object) -> None:
        """Server-side apply into the namespace."""
        self.kubernetes.apply(*objects, namespace=self.namespace)

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        """kubectl in the namespace."""
        return self.kubernetes.kubectl("-n", self.namespace, *arguments, check=check)

    def get(self, *arguments: str) -> Any:
        """An object or List of the namespace."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))


def model_servers(
    name: str, model: str, *, replicas: int = 1, args: Sequence[str] = ()
) -> tuple[Object, Object]:
    """Deployment and Service of simulated vLLM servers, which stop without breaking requests."""
    labels = {"app": name}
    container = {
        "name": "vllm",
        "image": operator_image_name(),
        "imagePullPolicy": "IfNotPresent",
        "args": [
            "simulate",
            "--host=0.0.0.0",
            f"--port={MODEL_PORT}",
            f"--model={model}",
            "--shutdown-timeout=20",
            *args,
        ],
        "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
        "ports": [{"name": "http", "containerPort": MODEL_PORT}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
        "securityContext": RESTRICTED,
    }
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    deployment: Object = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }
    port = {"name": "http", "port": MODEL_PORT, "targetPort": "http"}
    service: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": labels, "ports": [port]},
    }
    return deployment, service
