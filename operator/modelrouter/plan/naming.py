"""What a router's objects are called, and the labels by which they are found."""

from __future__ import annotations

NAME = "app.kubernetes.io/name"
INSTANCE = "app.kubernetes.io/instance"
COMPONENT = "app.kubernetes.io/component"
PART_OF = "app.kubernetes.io/part-of"
MANAGED_BY = "app.kubernetes.io/managed-by"
ROUTER = "modelrouter.dev/router"

OPERATOR = "model-router-operator"
"""Field manager of everything that the operator applies."""
ROUTER_COMPONENT = "router"
CONFIG_COMPONENT = "router-config"

REQUEST_PORT = 8080
"""Where routers take requests."""
ADMIN_PORT = 8081
"""Where the agent answers about itself."""


def child_name(router: str) -> str:
    """The name of each of a router's objects, except the ConfigMaps."""
    return f"model-router-{router}"


def shard_name(router: str, index: int) -> str:
    """The name of a ConfigMap that holds a shard of a router's configuration."""
    return f"{child_name(router)}-config-{index}"


def shard_index(router: str, name: str) -> int | None:
    """Which shard of the router a ConfigMap of this name holds; None: it is no shard."""
    text = name.removeprefix(f"{child_name(router)}-config-")
    if not (text.isascii() and text.isdigit()):
        return None
    index = int(text)
    return index if shard_name(router, index) == name else None


def labels(router: str, component: str = ROUTER_COMPONENT) -> dict[str, str]:
    """The labels of a router's objects."""
    return {
        NAME: "model-router",
        INSTANCE: child_name(router),
        COMPONENT: component,
        PART_OF: OPERATOR,
        MANAGED_BY: OPERATOR,
        ROUTER: router,
    }


def pod_selector(router: str) -> dict[str, str]:
    """The labels that tell a router's pods from all others."""
    return {NAME: "model-router", COMPONENT: ROUTER_COMPONENT, ROUTER: router}


def router_url(namespace: str, router: str) -> str:
    """The base URL for clients inside the cluster."""
    return f"http://{child_name(router)}.{namespace}.svc:{REQUEST_PORT}/v1"
