"""A reference to one key of a Secret."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from modelrouter.api.admission import Matching
from modelrouter.api.metadata import ObjectName
from modelrouter.api.strictness import StrictModel

_SECRET_KEY = r"^[-._a-zA-Z0-9]+$"


class SecretKeyReference(StrictModel):
    """One key of a Secret in the same namespace."""

    name: ObjectName
    """Name of the Secret."""
    key: Annotated[
        str,
        Field(max_length=253, pattern=_SECRET_KEY),
        Matching(_SECRET_KEY, "a key has only letters, digits, '-', '_' and '.'", 253),
    ]
    """Key within the Secret's data."""
