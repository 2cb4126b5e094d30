"""A router's pods: Envoy, which moves the bytes, and the agent beside it, which decides.

The agent is a native sidecar (an init container that goes on running): it starts before Envoy,
which needs its bootstrap, and ends after it.
"""

from __future__ import annotations

from typing import Any

from modelrouter.api.router_settings import Resources, RouterSettings
from modelrouter.plan.envoy_flags import ENVOY_FLAGS
from modelrouter.plan.naming import (
    ADMIN_PORT,
    REQUEST_PORT,
    child_name,
    labels,
    pod_selector,
)

AGENT, ENVOY = "agent", "envoy"
"""Names of the containers."""

AGENT_USER, ENVOY_USER, SHARED_GROUP = 65532, 65533, 65531
"""Two users, so that Envoy cannot read the agent's memory or token; one group, for the sockets."""

RUNTIME_DIR = "/run/modelrouter"
STATE_DIR = "/var/lib/modelrouter"
TOKEN_DIR = "/var/run/secrets/kubernetes.io/serviceaccount"
DRAIN_FILE = f"{RUNTIME_DIR}/drain"
"""Made by Envoy's container when its pod goes: the agent then drains Envoy."""
DRAINED_FILE = f"{RUNTIME_DIR}/drained"
"""Made by the agent when no request is running any more."""

_TOKEN_SECONDS = 3600
# What is left of the grace period when waiting for requests ends: for Envoy and agent to end.
_AGENT_MARGIN_SECONDS, _HOOK_MARGIN_SECONDS = 5, 3

Object = dict[str, Any]


def plan_deployment(router: str, namespace: str, settings: RouterSettings) -> Object:
    """The Deployment of a router."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": child_name(router), "namespace": namespace, "labels": labels(router)},
        "spec": {
            "replicas": settings.replicas,
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": pod_selector(router)},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "template": {
                "metadata": _pod_metadata(router, settings),
                "spec": _pod_spec(router, namespace, settings),
            },
        },
    }


def _pod_metadata(router: str, settings: RouterSettings) -> Object:
    metadata: Object = {"labels": {**settings.pod_labels, **labels(router)}}
    # What `kubectl logs` and `kubectl exec` take without -c.
    annotations = {"kubectl.kubernetes.io/default-container": ENVOY, **settings.pod_annotations}
    return {**metadata, "annotations": annotations}


def _pod_spec(router: str, namespace: str, settings: RouterSettings) -> Object:
    spec: Object = {
        "serviceAccountName": child_name(router),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": settings.termination_grace_period_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "fsGroup": SHARED_GROUP,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            _spread(router, "kubernetes.io/hostname"),
            _spread(router, "topology.kubernetes.io/zone"),
        ],
        "initContainers": [_agent(router, namespace, settings)],
        "containers": [_envoy(settings)],
        "volumes": [
            {"name": "runtime", "emptyDir": {"medium": "Memory", "sizeLimit": "32Mi"}},
            {"name": "state", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
            _token_volume(),
        ],
    }
    if settings.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in settings.image_pull_secrets]
    if settings.node_selector:
        spec["nodeSelector"] = dict(settings.node_selector)
    if settings.tolerations:
        spec["tolerations"] = [dict(toleration) for toleration in settings.tolerations]
    if settings.priority_class_name:
        spec["priorityClassName"] = settings.priority_class_name
    return spec


def _spread(router: str, topology: str) -> Object:
    return {
        "maxSkew": 1,
        "topologyKey": topology,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": pod_selector(router)},
        # Only pods of one revision: during a rollout the old ones are about to go.
        "matchLabelKeys": ["pod-template-hash"],
    }


def _agent(router: str, namespace: str, settings: RouterSettings) -> Object:
    drain = settings.termination_grace_period_seconds - _AGENT_MARGIN_SECONDS
    return {
        "name": AGENT,
        "image": settings.agent_image,
        "imagePullPolicy": settings.image_pull_policy,
        "restartPolicy": "Always",
        "command": ["modelrouter"],
        "args": [
            *("router", "--kubernetes", "--namespace", namespace, "--router", router),
            *("--runtime-dir", RUNTIME_DIR, "--state-dir", STATE_DIR),
            *("--listen", f"0.0.0.0:{REQUEST_PORT}", "--admin", f"0.0.0.0:{ADMIN_PORT}"),
            *("--drain-seconds", str(drain)),
            *("--log-level", settings.log_level, "--log-format", "json"),
        ],
        "ports": [{"name": "admin", "containerPort": ADMIN_PORT, "protocol": "TCP"}],
        # Envoy starts when this has succeeded.
        "startupProbe": _probe("/healthz", period=1, failures=60),
        "readinessProbe": _probe("/readyz", period=2, failures=2),
        "livenessProbe": _probe("/healthz", period=10, failures=3),
        **_resources(settings.agent_resources),
        "securityContext": _security(AGENT_USER),
        "volumeMounts": [
            {"name": "runtime", "mountPath": RUNTIME_DIR},
            {"name": "state", "mountPath": STATE_DIR},
            {"name": "token", "mountPath": TOKEN_DIR, "readOnly": True},
        ],
    }


def _envoy(settings: RouterSettings) -> Object:
    return {
        "name": ENVOY,
        "image": settings.envoy_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["envoy"],
        "args": [
            *("--config-path", f"{RUNTIME_DIR}/envoy.json"),
            *("--concurrency", str(settings.threads)),
            *ENVOY_FLAGS,
        ],
        "ports": [{"name": "http", "containerPort": REQUEST_PORT, "protocol": "TCP"}],
        # The agent says whether Envoy has its configuration; this says that its port is open.
        "readinessProbe": {
            "tcpSocket": {"port": "http"},
            "periodSeconds": 2,
            "timeoutSeconds": 2,
            "failureThreshold": 2,
        },
        "lifecycle": {"preStop": {"exec": {"command": ["/bin/sh", "-c", _drain_script(settings)]}}},
        **_resources(settings.envoy_resources),
        "securityContext": _security(ENVOY_USER),
        "volumeMounts": [{"name": "runtime", "mountPath": RUNTIME_DIR}],
    }


def _drain_script(settings: RouterSettings) -> str:
    """Asks the agent to drain, and keeps Envoy alive until it has.

    A hook that fails is an Event that worries people, so running out of time is no failure.
    """
    seconds = settings.termination_grace_period_seconds - _HOOK_MARGIN_SECONDS
    wait = f"until [ -e {DRAINED_FILE} ]; do sleep 0.1; done"
    return f"touch {DRAIN_FILE}; timeout {seconds} sh -c '{wait}' || true"


def _probe(path: str, *, period: int, failures: int) -> Object:
    return {
        "httpGet": {"path": path, "port": "admin"},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }


def _resources(resources: Resources) -> Object:
    found = resources.model_dump(mode="json", exclude_defaults=True)
    return {"resources": found} if found else {}


def _security(user: int) -> Object:
    return {
        "runAsUser": user,
        "runAsGroup": user,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def _token_volume() -> Object:
    """What Kubernetes mounts by default into every container, here for the agent alone."""
    namespace = {"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}
    return {
        "name": "token",
        "projected": {
            "sources": [
                {"serviceAccountToken": {"path": "token", "expirationSeconds": _TOKEN_SECONDS}},
                {
                    "configMap": {
                        "name": "kube-root-ca.crt",
                        "items": [{"key": "ca.crt", "path": "ca.crt"}],
                    }
                },
                {"downwardAPI": {"items": [namespace]}},
            ]
        },
    }
