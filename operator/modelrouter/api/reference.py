"""The field reference, written from the models themselves so that it cannot fall behind them."""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from modelrouter.api.pool import ModelPool, ModelPoolSpec
from modelrouter.api.route import ModelRoute, ModelRouteSpec

_INTRODUCTION = """\
# Field reference

Written by `make docs` from the models in `operator/modelrouter/api`; do not edit it by hand.

Durations are written like `250ms`, `30s`, `10m` or `1h30m`; prices and qualities are decimal
numbers in quotes. A field that is not listed here is an error.
"""


def field_reference() -> str:
    """Markdown for all fields of both resources."""
    sections = [_INTRODUCTION]
    for resource, spec in ((ModelPool, ModelPoolSpec), (ModelRoute, ModelRouteSpec)):
        sections.append(f"## {resource.__name__}\n\n{_first_line(resource)}\n")
        sections.append(
            "| field | type | default | meaning |\n| --- | --- | --- | --- |\n"
            + "\n".join(_rows(spec, "spec"))
            + "\n"
        )
    return "\n".join(sections)


def _rows(model: type[BaseModel], path: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        place = f"{path}.{field.alias or name}"
        kind, inner, suffix = _kind(field.annotation)
        meaning = " ".join((field.description or "").split()).replace("|", "\\|")
        yield f"| `{place}` | {kind} | {_default(field)} | {meaning} |"
        if inner is not None:
            yield from _rows(inner, place + suffix)


def _kind(annotation: Any) -> tuple[str, type[BaseModel] | None, str]:
    """The type in words, the model to descend into, and what its path gets: `[]` for lists."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _kind(arguments[0])
    if origin in (typing.Union, types.UnionType):
        members = [member for member in arguments if member is not type(None)]
        kinds = [_kind(member) for member in members]
        return " or ".join(kind for kind, _, _ in kinds), kinds[0][1], kinds[0][2]
    if origin is list:
        kind, inner, suffix = _kind(arguments[0])
        return f"list of {kind}", inner, f"[]{suffix}"
    if origin is dict:
        return f"map to {_kind(arguments[1])[0]}", None, ""
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments), None, ""
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return ", ".join(f"`{member.value}`" for member in annotation), None, ""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "object", annotation, ""
    return {str: "string", int: "integer", bool: "boolean"}.get(annotation, "any"), None, ""


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    value = field.default
    if value is None:
        return ""
    if isinstance(value, BaseModel):
        return "`{}`"
    if isinstance(value, list):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value}`"


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]
