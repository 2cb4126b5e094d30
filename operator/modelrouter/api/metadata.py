"""What every Kubernetes object carries: type, name and namespace."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

API_VERSION: Literal["modelrouter.dev/v1alpha1"] = "modelrouter.dev/v1alpha1"
DEFAULT_NAMESPACE = "default"

_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$")


def check_name(text: str) -> str:
    """The text, if it is a name; otherwise ValueError."""
    if not _NAME.match(text):
        raise ValueError(
            "a name has at most 63 lower-case letters, digits, '-' and '.', "
            "and begins and ends with a letter or digit"
        )
    return text


ObjectName = Annotated[str, AfterValidator(check_name)]
"""An RFC 1123 subdomain of at most 63 characters, so that it also fits in a label's value."""


class ObjectMeta(BaseModel):
    """The part of an object's metadata that this project reads; the rest is kept as it is."""

    model_config = ConfigDict(
        extra="allow", frozen=True, alias_generator=to_camel, validate_by_name=True
    )

    name: ObjectName
    namespace: ObjectName = DEFAULT_NAMESPACE
    generation: int = 0
    creation_timestamp: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, Any] = {}
