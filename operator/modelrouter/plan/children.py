"""A router → the Kubernetes objects that make it up, each with the fields that the operator owns.

They have no owner: a router belongs to all routes that name it, and goes with the last of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from modelrouter.api.router_config import RouterConfig
from modelrouter.api.router_settings import RouterSettings
from modelrouter.plan.deployment import plan_deployment
from modelrouter.plan.naming import (
    CONFIG_COMPONENT,
    REQUEST_PORT,
    child_name,
    labels,
    pod_selector,
    shard_name,
)
from modelrouter.plan.shards import Shards

Object = dict[str, Any]
"""A Kubernetes object as plain data."""


def plan_children(
    router: str,
    namespace: str,
    shards: Shards,
    secret_names: Collection[str],
    settings: RouterSettings,
) -> list[Object]:
    """All objects of a router, in the order in which they should come to be.

    `secret_names` are the Secrets that its pods may read; see `secret_names`.
    """
    return [
        plan_service_account(router, namespace),
        plan_role(router, namespace, secret_names),
        plan_role_binding(router, namespace),
        *(plan_shard(router, namespace, index, data) for index, data in sorted(shards.items())),
        plan_service(router, namespace, settings),
        plan_disruption_budget(router, namespace),
        plan_deployment(router, namespace, settings),
    ]


def secret_names(config: RouterConfig) -> list[str]:
    """The Secrets that the pools of a configuration name."""
    return sorted({pool.credential.secret for pool in config.pools.values() if pool.credential})


def plan_shard(router: str, namespace: str, index: int, data: Mapping[str, str]) -> Object:
    """The ConfigMap of one shard."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": shard_name(router, index),
            "namespace": namespace,
            "labels": labels(router, CONFIG_COMPONENT),
        },
        "data": dict(data),
    }


def plan_service_account(router: str, namespace: str) -> Object:
    """Who the agents are. Pods mount its token by themselves, for the agent's container alone."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(router, namespace),
        "automountServiceAccountToken": False,
    }


def plan_role(router: str, namespace: str, secret_names: Collection[str]) -> Object:
    """What agents may read: configuration, endpoints, and the Secrets that the pools name."""
    rules: list[Object] = [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]},
        {
            "apiGroups": ["discovery.k8s.io"],
            "resources": ["endpointslices"],
            "verbs": ["get", "list", "watch"],
        },
    ]
    # Without names the rule would be about all Secrets.
    if secret_names:
        rules.append(
            {
                "apiGroups": [""],
                "resources": ["secrets"],
                "resourceNames": sorted(secret_names),
                "verbs": ["get", "list", "watch"],
            }
        )
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": _metadata(router, namespace),
        "rules": rules,
    }


def plan_role_binding(router: str, namespace: str) -> Object:
    """Gives the Role to the agents."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": _metadata(router, namespace),
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Role",
            "name": child_name(router),
        },
        "subjects": [
            {"kind": "ServiceAccount", "name": child_name(router), "namespace": namespace}
        ],
    }


def plan_service(router: str, namespace: str, settings: RouterSettings) -> Object:
    """Where clients send requests."""
    metadata = _metadata(router, namespace)
    if settings.service_annotations:
        metadata["annotations"] = dict(settings.service_annotations)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "type": settings.service_type,
            "selector": pod_selector(router),
            "ports": [
                {
                    "name": "http",
                    "port": REQUEST_PORT,
                    "protocol": "TCP",
                    "targetPort": "http",
                    "appProtocol": "http",
                }
            ],
        },
    }


def plan_disruption_budget(router: str, namespace: str) -> Object:
    """Evictions take one pod at a time; a pod that does not work anyway may always go."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(router, namespace),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": pod_selector(router)},
        },
    }


def _metadata(router: str, namespace: str) -> Object:
    return {"name": child_name(router), "namespace": namespace, "labels": labels(router)}
