"""Structural schemas: what a CustomResourceDefinition says about a pydantic model.

Kubernetes takes a strict part of OpenAPI v3: no references, one type for each field, no
`additionalProperties: false` (unknown fields are refused or pruned anyway). See
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

_ORDER = ("description", "type", "format", "default", "enum")
_LARGEST_INT32 = 2**31 - 1


def structural_schema(model: type[BaseModel]) -> Schema:
    """The schema of a model as written in manifests, complete and without references."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _structural(schema, schema.get("$defs", {}))


def _structural(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    schema = _inlined(schema, definitions)
    for name in ("title", "$defs"):
        schema.pop(name, None)
    anything = schema.get("x-kubernetes-preserve-unknown-fields", False)
    if anything or schema.get("additionalProperties") is False:
        schema.pop("additionalProperties", None)
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    if "description" in schema:
        schema["description"] = _prose(schema["description"])
    if schema.get("x-kubernetes-int-or-string"):
        schema.pop("type", None)
    if schema.get("type") == "integer":
        fits = abs(schema.get("maximum", 2**63)) <= _LARGEST_INT32
        schema["format"] = "int32" if fits else "int64"
    for name in ("items", "additionalProperties"):
        if name in schema:
            schema[name] = _structural(schema[name], definitions)
    schema.pop("propertyNames", None)
    if "properties" in schema:
        schema["properties"] = {
            name: _structural(value, definitions) for name, value in schema["properties"].items()
        }
    _settle_default(schema)
    return {name: schema[name] for name in sorted(schema, key=_place)}


def _inlined(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """The schema with its reference or its one alternative to null put in; a field's own
    description wins over that of its type."""
    schema = dict(schema)
    while "$ref" in schema or "anyOf" in schema:
        if "$ref" in schema:
            inner = definitions[schema.pop("$ref").rpartition("/")[2]]
        else:
            branches = [branch for branch in schema["anyOf"] if branch.get("type") != "null"]
            if len(branches) > 1:
                break
            del schema["anyOf"]
            inner = branches[0]
        schema = {**inner, **schema}
    return schema


def _settle_default(schema: Schema) -> None:
    """Keep a default that says something; a list or object that is empty anyway goes without."""
    if "default" not in schema:
        return
    default = schema["default"]
    if isinstance(default, dict):
        if any("default" in value for value in schema.get("properties", {}).values()):
            schema["default"] = {}  # the fields' own defaults fill it
        else:
            del schema["default"]
    elif default is None or default == []:
        del schema["default"]


def _prose(text: str) -> str:
    """A docstring on one line for each paragraph."""
    paragraphs = text.strip().split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _place(name: str) -> tuple[int, str]:
    """Sort key: what a reader wants to know first, then limits, then what lies deeper."""
    if name in _ORDER:
        return _ORDER.index(name), name
    return (99 if name in ("properties", "items", "additionalProperties") else 50), name
