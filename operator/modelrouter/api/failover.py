"""Which pools take over from the chosen one, and when."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from modelrouter.api.admission import LIST_OF_ONE_OWNER, Cel
from modelrouter.api.pool_name import LONGEST, check_pool_name

Percent = Annotated[int, Field(ge=0, le=100)]

NO_FAILOVER = "None"
"""Alone in a `failover` list: stay in the pool that was chosen. No pool can be called so, because
names are lower-case."""


_FAILOVER_RULE = "write [None] to stay in the chosen pool, or a list of pools"
_NONE_RULE = "None stands alone: write [None], or a list of pools"


def _failover(value: object) -> object:
    # Falling back to the default would send requests where their owner wants none, so whatever may
    # be meant as "no failover" but does not say it is an error rather than an empty value.
    if value is None or value == [] or value == [None] or isinstance(value, str):
        raise ValueError(_FAILOVER_RULE)
    if isinstance(value, list) and NO_FAILOVER in value and len(value) > 1:
        raise ValueError(_NONE_RULE)
    return value


def _takes_over(name: str) -> str:
    return name if name == NO_FAILOVER else check_pool_name(name)


Failover = Annotated[
    Annotated[
        list[Annotated[str, Field(max_length=LONGEST), AfterValidator(_takes_over)]],
        Field(max_length=64),
        LIST_OF_ONE_OWNER,
        Cel("size(self) > 0", _FAILOVER_RULE),
        Cel("!('None' in self) || size(self) == 1", _NONE_RULE),
    ]
    | None,
    BeforeValidator(_failover),
]
"""Pools in the order in which they take over, or `[None]`. Python's None: not given.

A list in either case, because a field of a CRD has one type and rules about a field without a type
are impossible."""
