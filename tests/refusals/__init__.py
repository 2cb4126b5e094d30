"""Manifests that must be refused, and what is said: by `modelrouter lint` and by the API server.

Each case of a file changes a few fields of a manifest that is right. The unit tests ask the models,
the cluster tests ask a real API server, so that both refuse the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

API_VERSION = "modelrouter.dev/v1alpha1"
RIGHT: dict[str, dict[str, Any]] = {
    "ModelPool": {"model": "m", "endpoints": ["10.0.0.7:8000"]},
    "ModelRoute": {"models": ["m", "large"], "pools": ["a", "b"]},
}
"""Specs that both accept."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A manifest, and what is said of it."""

    kind: str
    case: str
    manifest: dict[str, Any]
    lint: str
    """Part of a problem that `modelrouter lint` reports."""
    server: str
    """Part of what the API server answers."""
    server_side: bool = False
    """Whether it does so in server-side apply only."""


def manifest(kind: str, spec: dict[str, Any], name: str = "case") -> dict[str, Any]:
    """A resource as people apply it."""
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def refusals() -> list[Refusal]:
    """All cases of the files beside this one."""
    found = []
    for kind, file in (("ModelPool", "pools.yaml"), ("ModelRoute", "routes.yaml")):
        cases = yaml.safe_load((Path(__file__).parent / file).read_text(encoding="utf-8"))
        for case, told in cases.items():
            spec = {**RIGHT[kind], **told["spec"]}
            for name in told.get("without", ()):
                spec.pop(name, None)
            written = manifest(kind, spec, told.get("name", "case"))
            server_side = told.get("server_side", False)
            found.append(Refusal(kind, case, written, told["lint"], told["server"], server_side))
    return found
