"""CustomResourceDefinitions of both resources, written from the models themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel

from modelrouter.api.admission import VALIDATIONS, Cel
from modelrouter.api.metadata import API_VERSION
from modelrouter.api.pool import RUNNABLE_NAME, RUNNABLE_NAME_RULE, ModelPool, ModelPoolSpec
from modelrouter.api.route import ModelRoute, ModelRouteSpec
from modelrouter.api.status import ModelPoolStatus, ModelRouteStatus
from modelrouter.api.structural import structural_schema

_GROUP, _, _VERSION = API_VERSION.partition("/")
_HEADER = "# Written by `make crds` from the models in operator/modelrouter/api; do not edit.\n"
_API_VERSION = "Version of this resource's schema: modelrouter.dev/v1alpha1."
_READY = '.status.conditions[?(@.type=="Ready")].status'


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of `kubectl get`."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0
    """0: always shown; 1: with `-o wide`."""
    description: str = ""

    def document(self) -> dict[str, Any]:
        column: dict[str, Any] = {"name": self.name, "type": self.type, "jsonPath": self.path}
        if self.priority:
            column["priority"] = self.priority
        if self.description:
            column["description"] = self.description
        return column


@dataclass(frozen=True, slots=True)
class _Kind:
    """What one CustomResourceDefinition is made of."""

    resource: type[BaseModel]
    spec: type[BaseModel]
    status: type[BaseModel]
    short_name: str
    columns: tuple[_Column, ...]
    scale: Mapping[str, str] | None = None
    """Where `kubectl scale` and autoscalers find their fields; None: they have nothing to do."""
    rules: tuple[Cel, ...] = ()
    """Rules about the whole resource."""

    @property
    def plural(self) -> str:
        return self.resource.__name__.lower() + "s"


_AGE = _Column("Age", ".metadata.creationTimestamp", "date")
_WHY = _Column(
    "Message",
    '.status.conditions[?(@.type=="Ready")].message',
    priority=1,
    description="Why it is ready or not",
)
_KINDS = (
    _Kind(
        ModelRoute,
        ModelRouteSpec,
        ModelRouteStatus,
        "mroute",
        (
            _Column("Models", ".spec.models", description="What clients put in model"),
            _Column("Router", ".spec.router", description="The router that serves the route"),
            _Column("Canary", ".status.canary.summary", description="Phase and weight in force"),
            _Column("Ready", _READY, description="Whether requests can be served"),
            _AGE,
            _Column("URL", ".status.url", priority=1, description="Base URL for clients"),
            _WHY,
        ),
    ),
    _Kind(
        ModelPool,
        ModelPoolSpec,
        ModelPoolStatus,
        "mpool",
        (
            _Column("Model", ".spec.model", description="The name the backend knows"),
            _Column("Source", ".status.source", description="Where the endpoints come from"),
            _Column("Endpoints", ".status.endpoints.summary", description="Ready of all"),
            _Column("Ready", _READY, description="Whether requests can be served"),
            _AGE,
            _Column("Zone", ".spec.zone", priority=1, description="Where prompts are processed"),
            _WHY,
        ),
        rules=(
            Cel(
                f"!has(self.spec.vllm) || self.metadata.name.matches('{RUNNABLE_NAME}')",
                RUNNABLE_NAME_RULE,
            ),
        ),
        scale={
            "specReplicasPath": ".spec.vllm.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    ),
)


def definitions() -> dict[str, dict[str, Any]]:
    """Every CustomResourceDefinition as plain data, by the name of the file it belongs in."""
    return {f"{_GROUP}_{kind.plural}.yaml": _definition(kind) for kind in _KINDS}


def definition_files() -> dict[str, str]:
    """The same as YAML text."""
    return {
        name: _HEADER
        + yaml.dump(definition, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
        for name, definition in definitions().items()
    }


def _definition(kind: _Kind) -> dict[str, Any]:
    name = kind.resource.__name__
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{_GROUP}"},
        "spec": {
            "group": _GROUP,
            "names": {
                "kind": name,
                "listKind": f"{name}List",
                "plural": kind.plural,
                "singular": name.lower(),
                "shortNames": [kind.short_name],
                "categories": ["modelrouter"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": _VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {
                        "status": {},
                        **({"scale": dict(kind.scale)} if kind.scale else {}),
                    },
                    "additionalPrinterColumns": [column.document() for column in kind.columns],
                    "schema": {"openAPIV3Schema": _resource_schema(kind)},
                }
            ],
        },
    }


def _resource_schema(kind: _Kind) -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "description": (kind.resource.__doc__ or "").strip().splitlines()[0],
        "type": "object",
        "required": ["spec"],
        # The API server itself checks all but the length of names.
        VALIDATIONS: [
            {
                "rule": "size(self.metadata.name) <= 63",
                "message": "metadata.name has at most 63 characters",
            },
            *(rule.document() for rule in kind.rules),
        ],
        "properties": {
            "apiVersion": {"description": _API_VERSION, **text},
            "kind": {"description": f"Kind of this resource: {kind.resource.__name__}.", **text},
            "metadata": {"type": "object"},
            "spec": structural_schema(kind.spec),
            "status": structural_schema(kind.status),
        },
    }


class _Dumper(yaml.SafeDumper):
    """Safe YAML without anchors, which not every reader of manifests takes."""

    def ignore_aliases(self, data: object) -> bool:
        return True
