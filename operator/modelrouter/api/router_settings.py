"""`RouterSettings`: what every router that the operator deploys looks like."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from modelrouter import __version__
from modelrouter.api.strictness import StrictModel

AGENT_IMAGE = f"ghcr.io/modelrouter/model-router-operator:{__version__}"
ENVOY_IMAGE = "docker.io/envoyproxy/envoy:v1.40.0"

_QUANTITY = re.compile(r"^[0-9]+(\.[0-9]*)?(m|[kMGTPE]|[KMGTPE]i)?$")
_UNLIMITED_THREADS = 2

LogLevel = Literal["debug", "info", "warning", "error"]
"""How much is logged."""


def _quantity(value: object) -> str:
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        text = str(value)
        if _QUANTITY.match(text):
            return text
    raise ValueError("write a quantity such as 500m, 2 or 256Mi")


Quantity = Annotated[str, BeforeValidator(_quantity)]
"""An amount as Kubernetes writes it: `500m`, `2`, `256Mi`."""


class Resources(StrictModel):
    """CPU and memory of a container."""

    requests: dict[str, Quantity] = {}
    """What the scheduler sets aside."""
    limits: dict[str, Quantity] = {}
    """What the container may not exceed."""


class RouterSettings(StrictModel):
    """What every router looks like."""

    replicas: Annotated[int, Field(ge=1, le=100)] = 2
    """Pods of each router."""
    agent_image: Annotated[str, Field(min_length=1)] = AGENT_IMAGE
    """Image of the agent: the operator's own."""
    envoy_image: Annotated[str, Field(min_length=1)] = ENVOY_IMAGE
    """Image of Envoy, with a shell in it: not a distroless one."""
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    """For both images."""
    image_pull_secrets: list[str] = []
    """Names of Secrets with registry credentials, in the routers' namespaces."""
    agent_resources: Resources = Resources(
        requests={"cpu": "100m", "memory": "128Mi"}, limits={"memory": "512Mi"}
    )
    """CPU and memory of the agent."""
    envoy_resources: Resources = Resources(
        requests={"cpu": "200m", "memory": "128Mi"}, limits={"memory": "1Gi"}
    )
    """CPU and memory of Envoy. A pool takes about 0.6 MB of memory for each of its workers."""
    envoy_concurrency: Annotated[int, Field(ge=1, le=128)] | None = None
    """Envoy's worker threads. Default: one for each CPU of its limit, two without a limit."""
    log_level: LogLevel = "info"
    """How much the agent logs."""
    termination_grace_period_seconds: Annotated[int, Field(ge=15, le=3600)] = 60
    """Time that running requests have to end when a pod goes."""
    service_type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    """How the routers' Services are reached."""
    service_annotations: dict[str, str] = {}
    """Annotations of the Services, such as those that a cloud's load balancer reads."""
    pod_annotations: dict[str, str] = {}
    """Further annotations of the pods."""
    pod_labels: dict[str, str] = {}
    """Further labels of the pods. Those that the operator sets win."""
    node_selector: dict[str, str] = {}
    """Which nodes the pods may run on."""
    tolerations: list[dict[str, Any]] = []
    """Taints that the pods tolerate."""
    priority_class_name: str = ""
    """Priority class of the pods."""

    @property
    def threads(self) -> int:
        """Envoy's worker threads in force. Left alone, it counts the node's CPUs."""
        if self.envoy_concurrency is not None:
            return self.envoy_concurrency
        limit = self.envoy_resources.limits.get("cpu")
        return max(1, cpus(limit)) if limit else _UNLIMITED_THREADS


def cpus(quantity: str) -> int:
    """Whole CPUs that hold a quantity of them: 1 for `500m`, 2 for `1.5`."""
    if quantity.endswith("m"):
        return int((Decimal(quantity[:-1]) / 1000).to_integral_value(ROUND_CEILING))
    # Nobody has thousands of CPUs, so no other suffix makes sense; they all mean "very many".
    if quantity[-1].isalpha():
        return _UNLIMITED_THREADS
    return int(Decimal(quantity).to_integral_value(ROUND_CEILING))
