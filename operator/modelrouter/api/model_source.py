"""Where a model or an adapter comes from: `hf://`, `pvc://` or `s3://`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator

from modelrouter.api.admission import Matching

_REPOSITORY = "[A-Za-z0-9][-._A-Za-z0-9]{0,95}/[A-Za-z0-9][-._A-Za-z0-9]{0,95}"
# No part of a path begins with a dot, so that none leads out of the claim.
_PATH = "(/[-_A-Za-z0-9][-._A-Za-z0-9]*)*"
_CLAIM = "[a-z0-9]([-.a-z0-9]{0,61}[a-z0-9])?"
_BUCKET = "[a-z0-9][-.a-z0-9]{1,61}[a-z0-9]"
_HF = f"hf://{_REPOSITORY}"
_REVISION = "(@[A-Za-z0-9][-._/A-Za-z0-9]{0,127})?"
_PVC = f"pvc://{_CLAIM}{_PATH}/?"
_S3 = f"s3://{_BUCKET}{_PATH}/?"

REPOSITORY = f"^{_REPOSITORY}$"
"""A model of Hugging Face, `org/name`."""
_MODEL_SOURCE = f"^({_HF}{_REVISION}|{_PVC}|{_S3})$"
_MODEL_SOURCE_RULE = (
    "write hf://org/name, hf://org/name@revision, pvc://claim/path or s3://bucket/path"
)
_ADAPTER_SOURCE = f"^({_HF}|{_PVC})$"
_ADAPTER_SOURCE_RULE = "write hf://org/name or pvc://claim/path"
_LONGEST = 1024


def _model_source(text: str) -> str:
    if len(text) > _LONGEST or not re.fullmatch(_MODEL_SOURCE, text):
        raise ValueError(_MODEL_SOURCE_RULE)
    return text


def _adapter_source(text: str) -> str:
    if len(text) > _LONGEST or not re.fullmatch(_ADAPTER_SOURCE, text):
        raise ValueError(_ADAPTER_SOURCE_RULE)
    return text


ModelSource = Annotated[
    str,
    AfterValidator(_model_source),
    Matching(_MODEL_SOURCE, _MODEL_SOURCE_RULE, _LONGEST),
]
"""Where a model's files are."""

AdapterSource = Annotated[
    str,
    AfterValidator(_adapter_source),
    Matching(_ADAPTER_SOURCE, _ADAPTER_SOURCE_RULE, _LONGEST),
]
"""Where an adapter's files are. vLLM takes adapters neither from S3 nor at a revision."""


@dataclass(frozen=True, slots=True)
class Location:
    """A source in its parts."""

    scheme: Literal["hf", "pvc", "s3"]
    root: str
    """The repository `org/name`, the claim or the bucket."""
    path: str = ""
    """Below the root, without slashes at its ends; empty: all of it."""
    revision: str = ""
    """Branch, tag or commit of a repository; empty: its main branch."""


def locate(source: str) -> Location:
    """A valid source in its parts."""
    scheme, _, rest = source.partition("://")
    if scheme == "hf":
        repository, _, revision = rest.partition("@")
        return Location("hf", repository, revision=revision)
    root, _, path = rest.partition("/")
    return Location("pvc" if scheme == "pvc" else "s3", root, path.rstrip("/"))
