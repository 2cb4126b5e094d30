"""What routes call a pool: its name, or `POOL/ADAPTER` for an adapter that its servers load."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from modelrouter.api.admission import Matching

LONGEST = 127
_NAME = "[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?"
_ADAPTER = "[a-zA-Z0-9]([-._a-zA-Z0-9]{0,61}[a-zA-Z0-9])?"
_POOL_NAME = f"^{_NAME}(/{_ADAPTER})?$"
_POOL_NAME_RULE = (
    "a pool's name has at most 63 lower-case letters, digits, '-' and '.', and begins and ends "
    "with a letter or digit; an adapter of it is written pool/adapter"
)

ADAPTER_NAME = f"^{_ADAPTER}$"
"""An adapter's own name; fit for the key of a label."""


def check_pool_name(text: str) -> str:
    """The text, if it may name a pool or an adapter of one; otherwise ValueError."""
    if not re.fullmatch(_POOL_NAME, text):
        raise ValueError(_POOL_NAME_RULE)
    return text


PoolName = Annotated[
    str, AfterValidator(check_pool_name), Matching(_POOL_NAME, _POOL_NAME_RULE, LONGEST)
]
"""A ModelPool, or an adapter of one."""


def pool_of(name: str) -> str:
    """The ModelPool that a name is about."""
    return name.partition("/")[0]


def adapter_of(name: str) -> str:
    """The adapter that a name is about; empty: the pool itself."""
    return name.partition("/")[2]


def adapter_pool(pool: str, adapter: str) -> str:
    """What routes call an adapter of a pool."""
    return f"{pool}/{adapter}"
