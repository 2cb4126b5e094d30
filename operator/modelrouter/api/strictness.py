"""The base of every resource model: unknown fields are errors that suggest the nearest name."""

from __future__ import annotations

import difflib

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError


class StrictModel(BaseModel):
    """A frozen value whose fields are camelCase in manifests and snake_case in Python."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
        serialize_by_alias=True,
        use_attribute_docstrings=True,
    )


def field_names(model: type[BaseModel]) -> list[str]:
    """The names a manifest may use at this level, as written in YAML."""
    return [field.alias or name for name, field in model.model_fields.items()]


def nearest(name: str, candidates: list[str]) -> str | None:
    """The candidate a person most likely meant by `name`, if any is close.

    Case is folded first, because a wrong capital is the commonest slip in camelCase fields.
    """
    folded = {candidate.lower(): candidate for candidate in candidates}
    close = difflib.get_close_matches(name.lower(), list(folded), n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def invalid(field: str, message: str) -> PydanticCustomError:
    """An error about `field`, a path below the model that raises it, for checks across fields."""
    return PydanticCustomError("invalid", "{message}", {"field": field, "message": message})
