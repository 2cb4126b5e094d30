"""`v1` Secret: the part of it that holds provider keys."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Literal

from pydantic import ConfigDict, SecretBytes, field_validator

from modelrouter.api.metadata import ObjectMeta
from modelrouter.api.strictness import StrictModel


class Secret(StrictModel):
    """A Secret as it stands among manifests. Its values never appear in `repr` or in errors."""

    # Fields of Secret that this project does not read are the API server's business.
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    api_version: Literal["v1"]
    kind: Literal["Secret"]
    metadata: ObjectMeta
    type: str = "Opaque"
    data: dict[str, SecretBytes] = {}
    string_data: dict[str, SecretBytes] = {}

    @field_validator("data", mode="before")
    @classmethod
    def _decode(cls, value: Any) -> Any:
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise ValueError("data is a map from key to base64 text")
        decoded: dict[str, bytes] = {}
        for key, text in value.items():
            try:
                decoded[key] = base64.b64decode(str(text), validate=True)
            except (binascii.Error, ValueError):
                raise ValueError(
                    f"data.{key} is not base64; use stringData for plain text"
                ) from None
        return decoded

    @property
    def values(self) -> dict[str, bytes]:
        """Values by key; `stringData` wins over `data`, as the API server has it."""
        both = {**self.data, **self.string_data}
        return {key: value.get_secret_value() for key, value in both.items()}
