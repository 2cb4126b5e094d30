"""What every Kubernetes object carries: type, name and namespace."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from modelrouter.api.admission import Matching

API_VERSION: Literal["modelrouter.dev/v1alpha1"] = "modelrouter.dev/v1alpha1"
DEFAULT_NAMESPACE = "default"

_NAME = r"^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$"
_NAME_RULE = (
    "a name has at most 63 lower-case letters, digits, '-' and '.', "
    "and begins and ends with a letter or digit"
)
_ROUTER_NAME = r"^[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?$"
_ROUTER_NAME_RULE = (
    "a router's name has at most 50 lower-case letters, digits and '-', "
    "and begins and ends with a letter or digit"
)


def check_name(text: str) -> str:
    """The text, if it is a name; otherwise ValueError."""
    if not re.fullmatch(_NAME, text):
        raise ValueError(_NAME_RULE)
    return text


def _router_name(text: str) -> str:
    if not re.fullmatch(_ROUTER_NAME, text):
        raise ValueError(_ROUTER_NAME_RULE)
    return text


ObjectName = Annotated[str, AfterValidator(check_name), Matching(_NAME, _NAME_RULE, 63)]
"""An RFC 1123 subdomain of at most 63 characters, so that it also fits in a label's value."""

RouterName = Annotated[
    str, AfterValidator(_router_name), Matching(_ROUTER_NAME, _ROUTER_NAME_RULE, 50)
]
"""A name so short and plain that a Service can be called `model-router-NAME`."""


class ObjectMeta(BaseModel):
    """The part of an object's metadata that this project reads; the rest is kept as it is."""

    model_config = ConfigDict(
        extra="allow", frozen=True, alias_generator=to_camel, validate_by_name=True
    )

    name: ObjectName
    namespace: ObjectName = DEFAULT_NAMESPACE
    uid: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, Any] = {}
