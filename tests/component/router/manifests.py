"""Manifests for tests, as short as can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from component.router.simulators import Simulator

Manifest = Mapping[str, Any] | str
"""A resource, or YAML text with any number of them."""


def pool(name: str, *endpoints: Simulator | str, model: str = "", **spec: Any) -> dict[str, Any]:
    """A ModelPool on these simulators. `model` is the first one's unless given."""
    spec = {"model": model or _model_of(endpoints[0] if endpoints else name), **spec}
    if endpoints:
        spec["endpoints"] = [
            endpoint if isinstance(endpoint, str) else endpoint.address for endpoint in endpoints
        ]
    return _manifest("ModelPool", name, spec)


def provider(name: str, server: Simulator, *, secret: str = "", **spec: Any) -> dict[str, Any]:
    """A ModelPool outside the cluster; `secret` names a Secret with the key `api-key`."""
    source: dict[str, Any] = {"kind": "OpenAICompatible", "baseUrl": f"{server.url}/v1"}
    if secret:
        source["credentials"] = {"secretRef": {"name": secret, "key": "api-key"}}
    return _manifest("ModelPool", name, {"model": server.model, "provider": source, **spec})


def route(name: str, *, pools: Sequence[str], **spec: Any) -> dict[str, Any]:
    """A ModelRoute that serves the virtual model of the same name, unless `models` is given."""
    return _manifest("ModelRoute", name, {"models": [name], "pools": list(pools), **spec})


def secret(name: str, value: str) -> dict[str, Any]:
    """A Secret with one key, `api-key`."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "stringData": {"api-key": value},
    }


def _manifest(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "modelrouter.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def _model_of(endpoint: Simulator | str) -> str:
    return endpoint if isinstance(endpoint, str) else endpoint.model
