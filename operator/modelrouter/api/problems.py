"""What is wrong with a manifest, said so that a person can mend it."""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from modelrouter.api.strictness import field_names, nearest

# YAML 1.1 turns these unquoted words into booleans, as keys too.
_BOOLEAN_KEYS = {"True": "on, yes or true", "False": "off, no or false"}
_RENAMED = {"on": "triggers"}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, with its place."""

    message: str
    """What is wrong and what would be right."""
    resource: str = ""
    """Kind, namespace and name, such as `ModelRoute default/support`."""
    field: str = ""
    """Path of the field, such as `spec.rules[0].targets[1].pool`."""
    file: str = ""
    """Where the manifest was read from; empty for resources that live in a cluster."""
    line: int = 0
    """Line in the file, from 1; 0 where unknown."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (place, self.resource, self.field, self.message) if part)


def field_path(location: tuple[int | str, ...]) -> str:
    """A location as people write it: `spec.rules[0].name`."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def validation_problems(
    error: ValidationError, model: type[BaseModel]
) -> list[tuple[tuple[int | str, ...], str]]:
    """The errors that pydantic found, each with its location and a message for people."""
    problems: list[tuple[tuple[int | str, ...], str]] = []
    for detail in error.errors(include_url=False, include_input=False):
        location = detail["loc"]
        message = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            message = _unknown_field(str(location[-1]), model_at(model, location[:-1]))
        elif detail["type"] == "missing":
            message = "this field is required"
        elif detail["type"] == "invalid":
            location += tuple(_parts(detail["ctx"]["field"]))
        problems.append((location, message))
    return problems


def model_at(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The model of the value at a location, found by following the fields' annotations."""
    current: Any = model
    for part in location:
        if isinstance(current, type) and issubclass(current, BaseModel):
            fields = {field.alias or name: field for name, field in current.model_fields.items()}
            if part not in fields:
                return None
            current = _value_type(fields[str(part)].annotation)
        elif typing.get_origin(current) in (list, dict):
            current = _value_type(typing.get_args(current)[-1])
        else:
            return None
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None


def _value_type(annotation: Any) -> Any:
    """The type of one value: `Rule` for `list[Rule]`, `Sticky` for `Sticky | None`."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _value_type(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        for member in typing.get_args(annotation):
            if member is not type(None):
                return _value_type(member)
    return annotation


def _unknown_field(name: str, model: type[BaseModel] | None) -> str:
    candidates = field_names(model) if model else []
    if name == "True" and "triggers" in candidates:
        name = "on"
    if name in _BOOLEAN_KEYS:
        words = _BOOLEAN_KEYS[name]
        return (
            f"the key is a boolean: YAML reads an unquoted {words} so; quote it or check its name"
        )
    guess = _RENAMED.get(name) if _RENAMED.get(name) in candidates else nearest(name, candidates)
    if guess:
        return f'unknown field "{name}"; did you mean "{guess}"?'
    return f'unknown field "{name}"; known here: {", ".join(candidates) or "none"}'


def _parts(path: str) -> list[int | str]:
    parts: list[int | str] = []
    for name in path.replace("[", ".").replace("]", "").split("."):
        parts.append(int(name) if name.isdigit() else name)
    return parts
