"""Pools whose servers the operator runs, each a simulated vLLM in the place of the real one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.kubernetes.images import operator_image_name
from cluster.node.workloads import RESTRICTED, Object

QUICK = {"LOAD_SECONDS": "1"}
"""Knobs of a server that loads as fast as one can be seen to."""


def model_pool(
    name: str,
    model: str,
    *,
    vllm: Mapping[str, Any] | None = None,
    knobs: Mapping[str, str] = QUICK,
    pod: Mapping[str, Any] | None = None,
    **spec: Any,
) -> Object:
    """A ModelPool: further fields of `spec.vllm` and, by name, of `spec`.

    `knobs` are the simulator's variables without their SIMULATE_, see `modelrouter simulate
    --help`. `pod` holds further fields of the pod's spec. Each server asks for one GPU unless
    `vllm` has `resources`; see `gpus`. Answers name their pod as `system_fingerprint`.
    """
    return {
        "apiVersion": "modelrouter.dev/v1alpha1",
        "kind": "ModelPool",
        "metadata": {"name": name},
        "spec": {
            "model": model,
            "vllm": {
                "image": operator_image_name(),
                "podTemplate": pod_template(knobs, pod or {}),
                **(vllm or {}),
            },
            **spec,
        },
    }


def pod_template(knobs: Mapping[str, str], pod: Mapping[str, Any]) -> Object:
    """What makes a planned server a simulated one, in a namespace for restricted pods."""
    field = {"fieldRef": {"fieldPath": "metadata.name"}}
    env: list[Object] = [{"name": "SIMULATE_NAME", "valueFrom": field}]
    env += [{"name": f"SIMULATE_{name}", "value": value} for name, value in knobs.items()]
    container: Object = {
        "name": "vllm",
        "command": ["modelrouter", "simulate", "serve"],
        "imagePullPolicy": "IfNotPresent",
        "env": env,
        "startupProbe": {"periodSeconds": 1, "failureThreshold": 600},
        "readinessProbe": {"periodSeconds": 1},
        "securityContext": RESTRICTED,
    }
    return {"spec": {**pod, "containers": [container]}}
