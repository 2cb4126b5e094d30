"""What an API server is told about a value, beside the check in Python.

Both sides refuse the same manifests: Python where files are read, the API server where `kubectl
apply` ends. Each check stands twice therefore, next to each other: as a validator, and as a rule in
the Common Expression Language (`Cel`) or as keywords of the structural schema. The language is
described at https://kubernetes.io/docs/reference/using-api/cel/.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic.config import JsonDict
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

VALIDATIONS = "x-kubernetes-validations"


@dataclass(frozen=True, slots=True)
class Cel:
    """A rule in CEL, as `Annotated` metadata of a field or of a list's items."""

    rule: str
    """The condition; `self` is the value."""
    message: str
    """What would be right, if the condition does not hold."""
    detailed: str = ""
    """CEL whose result is said instead of `message`, because it names the culprit."""
    at: str = ""
    """Path below `self` that the error is about, such as `.targets`."""

    def document(self) -> JsonDict:
        """The rule as a structural schema holds it."""
        named: JsonDict = {"rule": self.rule, "message": self.message}
        if self.detailed:
            named["messageExpression"] = self.detailed
        if self.at:
            named["fieldPath"] = self.at
        return named

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core_schema)
        schema[VALIDATIONS] = [*schema.get(VALIDATIONS, []), self.document()]
        return schema


@dataclass(frozen=True, slots=True, eq=False)  # compared by identity, so that it can be hashed
class Keywords:
    """Keywords of a value's schema that its Python type does not say, as `Annotated` metadata."""

    keywords: Mapping[str, Any] = field(default_factory=dict)

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(core_schema), **self.keywords}


@dataclass(frozen=True, slots=True)
class Matching:
    """The text matches a regular expression that RE2 and Python read alike."""

    regex: str
    message: str
    max_length: int
    """Characters at most; without it the API server takes every rule for too expensive."""

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = {**handler(core_schema), "maxLength": self.max_length, "pattern": self.regex}
        # The pattern is for tools; what the API server says of it is no help to people.
        rule = Cel(f"self.matches({json.dumps(self.regex)})", self.message)
        schema[VALIDATIONS] = [*schema.get(VALIDATIONS, []), rule.document()]
        return schema


def checked_by(*given: Cel) -> JsonDict:
    """The rules of a model: what its `model_config` takes as `json_schema_extra`."""
    return {VALIDATIONS: [rule.document() for rule in given]}


LIST_OF_ONE_OWNER = Keywords({"x-kubernetes-list-type": "atomic"})
"""A list whose order or whole counts: who applies it server-side owns it entirely."""

UNIQUE = Keywords({"x-kubernetes-list-type": "set"})
"""A list in which nothing stands twice, whose items may have different owners."""


def keyed_by(name: str) -> Keywords:
    """A list of objects of which each has an owner of its own, told apart by one field."""
    return Keywords({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [name]})
