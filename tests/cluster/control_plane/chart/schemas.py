"""JSON schemas for kubeconform, made from what the API server publishes about its own types."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from cluster.kubernetes.access import Kubernetes

FOREIGN = Path(__file__).parent / "schemas"
"""Of kinds that the API server does not know: what the chart uses of the Prometheus operator."""
LOCATION = "{{.ResourceKind}}{{.KindSuffix}}.json"
_OWN_KEYS = "x-kubernetes-preserve-unknown-fields"


def write_schemas(kubernetes: Kubernetes, folder: Path) -> Path:
    """A schema file for every kind; returns what `kubeconform -schema-location` takes."""
    paths = json.loads(kubernetes.kubectl("get", "--raw", "/openapi/v3"))["paths"]
    for path, entry in paths.items():
        if path.count("/") == 0 or path.startswith("."):
            continue
        document = json.loads(kubernetes.kubectl("get", "--raw", entry["serverRelativeURL"]))
        _write_group(document.get("components", {}).get("schemas", {}), folder)
    for path in FOREIGN.iterdir():
        shutil.copy(path, folder)
    return str(folder / LOCATION)


def _write_group(schemas: dict[str, Any], folder: Path) -> None:
    definitions = {name: _strict(schema) for name, schema in schemas.items()}
    for name, schema in schemas.items():
        for kind in schema.get("x-kubernetes-group-version-kind", ()):
            document = {"$ref": f"#/definitions/{name}", "definitions": definitions}
            # The suffix as kubeconform has it: `-apps-v1`, `-rbac-v1`, and `-v1` for the core.
            group = kind["group"].split(".")[0]
            suffix = f"{group}-{kind['version']}" if group else kind["version"]
            (folder / f"{kind['kind'].lower()}-{suffix}.json").write_text(json.dumps(document))


def _strict(node: Any) -> Any:
    """The same with unknown fields refused, as `kubectl --validate=strict` does."""
    if isinstance(node, list):
        return [_strict(part) for part in node]
    if not isinstance(node, dict):
        return node
    strict = {key: _strict(value) for key, value in node.items()}
    if isinstance(node.get("$ref"), str):
        strict["$ref"] = node["$ref"].replace("#/components/schemas/", "#/definitions/")
    if node.get("type") == "object" and "properties" in node and _OWN_KEYS not in node:
        strict.setdefault("additionalProperties", False)
    return strict
