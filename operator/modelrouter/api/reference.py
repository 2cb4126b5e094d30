"""The field reference, written from the same schemas as the CustomResourceDefinitions."""

from __future__ import annotations

from collections.abc import Iterator

from modelrouter.api.admission import VALIDATIONS
from modelrouter.api.pool import ModelPool, ModelPoolSpec
from modelrouter.api.route import ModelRoute, ModelRouteSpec
from modelrouter.api.status import ModelPoolStatus, ModelRouteStatus
from modelrouter.api.structural import Schema, structural_schema

_INTRODUCTION = """\
# Field reference

Written by `make docs` from the models in `operator/modelrouter/api`; do not edit it by hand. In a
cluster, `kubectl explain mroute.spec.rules` and `kubectl explain mpool.spec` say the same.

Durations are written like `250ms`, `30s`, `10m` or `1h30m`; prices and qualities are decimal
numbers in quotes. A field that is not listed here is an error: `modelrouter lint` reports it, and
`kubectl apply` too. What a field may hold is checked by both, in the same way.

Leave out what you do not want to set. A field without a value (`zone:` and nothing after it) is an
error to `modelrouter lint` and in server-side apply; plain `kubectl apply` drops it silently, so
that the default holds.
"""
_RESOURCES = (
    (ModelPool, ModelPoolSpec, ModelPoolStatus),
    (ModelRoute, ModelRouteSpec, ModelRouteStatus),
)
_TABLE = "| field | type | default | meaning |\n| --- | --- | --- | --- |\n"
_STATUS_TABLE = "| field | type | meaning |\n| --- | --- | --- |\n"


def field_reference() -> str:
    """Markdown for all fields of both resources."""
    sections = [_INTRODUCTION]
    for resource, spec, status in _RESOURCES:
        summary = (resource.__doc__ or "").strip().splitlines()[0]
        sections.append(f"## {resource.__name__}\n\n{summary}\n")
        fields = list(_fields(structural_schema(spec), "spec"))
        sections.append(_TABLE + "\n".join(map(_row, fields)) + "\n")
        sections.append("What is checked besides types and limits:\n")
        whole = {"description": "", **structural_schema(spec)}
        sections.append("\n".join(_checks([("spec", whole, True), *fields])) + "\n")
        sections.append("What the operator reports:\n")
        rows = map(_status_row, _fields(structural_schema(status), "status"))
        sections.append(_STATUS_TABLE + "\n".join(rows) + "\n")
    return "\n".join(sections)


_Field = tuple[str, Schema, bool]
"""Path, schema, and whether it is required."""


def _fields(schema: Schema, path: str) -> Iterator[_Field]:
    for name, value in schema.get("properties", {}).items():
        place = f"{path}.{name}"
        yield place, value, name in schema.get("required", ())
        inner, suffix = value, ""
        while "items" in inner:
            inner, suffix = inner["items"], suffix + "[]"
        yield from _fields(inner, place + suffix)


def _row(field: _Field) -> str:
    path, schema, required = field
    default = "required" if required else _default(schema)
    return f"| `{path}` | {_type(schema)} | {default} | {_meaning(schema)} |"


def _status_row(field: _Field) -> str:
    path, schema, _ = field
    return f"| `{path}` | {_type(schema)} | {_meaning(schema)} |"


def _meaning(schema: Schema) -> str:
    return str(schema.get("description", "")).replace("|", "\\|")


def _default(schema: Schema) -> str:
    default = schema.get("default")
    if default is None:
        return ""
    if isinstance(default, list):
        return f"`[{', '.join(map(str, default))}]`"
    return "`{}`" if isinstance(default, dict) else f"`{default}`"


def _type(schema: Schema, plural: bool = False) -> str:
    """A type in words, with its limits."""
    if schema.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind = schema["type"]
    if kind == "array":
        limits = _between(schema.get("minItems"), schema.get("maxItems"))
        items = _type(schema["items"], plural=True)
        return f"list of {items}" if "enum" in schema["items"] else f"list of {limits}{items}"
    if "additionalProperties" in schema:
        limits = _between(None, schema.get("maxProperties"))
        return f"map of {limits}strings to {_type(schema['additionalProperties'], plural=True)}"
    word = f"{kind}s" if plural else kind
    if kind == "integer":
        return word + _range(schema.get("minimum"), schema.get("maximum"))
    if kind == "string" and "maxLength" in schema and "pattern" not in schema:
        return f"{word}, at most {schema['maxLength']} characters"
    return str(word)


def _between(least: int | None, most: int | None) -> str:
    if most is None:
        return ""
    return f"{least} to {most} " if least else f"at most {most} "


def _range(least: int | None, most: int | None) -> str:
    if most is not None:
        return f", {least or 0:,} to {most:,}"
    return f", at least {least:,}" if least is not None else ""


def _checks(fields: list[_Field]) -> Iterator[str]:
    """Rules, with the fields that they hold for."""
    holders: dict[str, list[str]] = {}

    def add(path: str, message: str) -> None:
        holders.setdefault(message, []).append(path)

    for path, schema, _ in fields:
        suffix, inner = "", schema
        while True:
            for rule in inner.get(VALIDATIONS, ()):
                add(path + suffix + rule.get("fieldPath", ""), rule["message"])
            if inner.get("x-kubernetes-list-type") == "set":
                add(path + suffix, "nothing is listed twice")
            for key in inner.get("x-kubernetes-list-map-keys", ()):
                add(path + suffix, f"no two have the same {key}")
            if "items" not in inner:
                break
            inner, suffix = inner["items"], suffix + "[]"
    for message, paths in holders.items():
        yield f"- {', '.join(f'`{path}`' for path in paths)}: {message}"
