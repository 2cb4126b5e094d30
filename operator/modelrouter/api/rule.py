"""Rules of a ModelRoute: which requests they are about, and which pools share these."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from modelrouter.api.admission import LIST_OF_ONE_OWNER, Cel, Matching, checked_by, keyed_by
from modelrouter.api.failover import Failover, Percent
from modelrouter.api.metadata import ObjectName
from modelrouter.api.pool import Feature
from modelrouter.api.pool_name import PoolName
from modelrouter.api.strictness import StrictModel, invalid

IMPLICIT_RULE = "pools"
"""Name of the rule added at the end of every route without a rule for all: its pools in their
order."""

_HEADER_NAME = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
HeaderName = Annotated[
    str,
    Field(pattern=_HEADER_NAME, max_length=256),
    AfterValidator(str.lower),
    Matching(_HEADER_NAME, "write a header's name such as x-team", 256),
]
"""An HTTP header's name; case does not matter."""

_MODEL_NAME = r"^[^ \t\n\v\f\r,]+$"
ModelName = Annotated[
    str,
    Field(max_length=256, pattern=_MODEL_NAME),
    Matching(_MODEL_NAME, "a model's name has no white space and no comma", 256),
]
"""A virtual model: what clients put in `model`. Any text without white space or comma."""

HeaderText = Annotated[str, Field(max_length=1024)]


class HeaderMatch(StrictModel):
    """A condition on one request header. Exactly one of `exact`, `prefix`, `regex`."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Cel(
                "[has(self.exact), has(self.prefix), has(self.regex)].filter(given, given).size()"
                " == 1",
                "exactly one of exact, prefix and regex is needed",
            ),
            Cel(
                "!self.name.lowerAscii().startsWith('x-mr-') && "
                "!self.name.lowerAscii().startsWith('x-envoy-')",
                "headers x-mr-… and x-envoy-… are removed from requests and can never match",
                at=".name",
            ),
        )
    )

    name: HeaderName
    """The header's name."""
    exact: HeaderText | None = None
    """The header has this value."""
    prefix: HeaderText | None = None
    """The header's value begins with this."""
    regex: HeaderText | None = None
    """The whole value matches this regular expression (Python's syntax)."""

    @model_validator(mode="after")
    def _has_one_condition(self) -> Self:
        given = [kind for kind in ("exact", "prefix", "regex") if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError("exactly one of exact, prefix and regex is needed")
        if self.regex is not None:
            try:
                re.compile(self.regex)
            except re.error as error:
                message = f"{self.regex!r} is not a regular expression: {error}"
                raise invalid("regex", message) from None
        if self.name.startswith(("x-mr-", "x-envoy-")):
            raise invalid("name", f"{self.name} is removed from requests and can never match")
        return self


class TokenRange(StrictModel):
    """A range of estimated prompt tokens, both ends included."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Cel("has(self.min) || has(self.max)", "give min, max or both"),
            Cel(
                "!has(self.min) || !has(self.max) || self.min <= self.max",
                "min is larger than max",
            ),
        )
    )

    min: Annotated[int, Field(ge=0, le=1_000_000_000)] | None = None
    """At least this many."""
    max: Annotated[int, Field(ge=0, le=1_000_000_000)] | None = None
    """At most this many."""

    @model_validator(mode="after")
    def _is_not_empty(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is larger than max {self.max}")
        return self


class RuleMatch(StrictModel):
    """Conditions on a request. All that are given must hold."""

    headers: Annotated[list[HeaderMatch], Field(max_length=16), LIST_OF_ONE_OWNER] = []
    """Conditions on request headers; all must hold."""
    models: Annotated[list[ModelName], Field(max_length=64), LIST_OF_ONE_OWNER] = []
    """The requested model is one of these."""
    prompt_tokens: TokenRange | None = None
    """The estimated number of prompt tokens lies in this range."""
    features: Annotated[list[Feature], Field(max_length=16), LIST_OF_ONE_OWNER] = []
    """The request needs all of these: `tools`, `jsonSchema`, `images`."""
    data_classes: Annotated[list[ObjectName], Field(max_length=32), LIST_OF_ONE_OWNER] = []
    """The request's header `x-data-class` names one of these."""

    @property
    def is_empty(self) -> bool:
        """Whether every request matches."""
        return not (
            self.headers
            or self.models
            or self.prompt_tokens is not None
            or self.features
            or self.data_classes
        )


class Target(StrictModel):
    """A pool and its share of a rule's requests."""

    pool: PoolName
    """A pool in `pools`, or an adapter there."""
    weight: Annotated[int, Field(ge=0, le=1_000_000)] = 1
    """Share of requests, relative to the other targets of the rule. 0: none."""


class Rule(StrictModel):
    """Where requests that match go."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Cel(
                "self.targets.exists(target, target.weight > 0)",
                "at least one weight must be above 0",
                at=".targets",
            )
        )
    )

    name: ObjectName
    """Name of the rule, unique in the route; it appears in `x-mr-reason`."""
    match: RuleMatch = RuleMatch()
    """Which requests. Without conditions: all."""
    targets: Annotated[list[Target], Field(min_length=1, max_length=32), keyed_by("pool")]
    """Pools that share the requests by weight."""
    failover: Failover = Field(default=None, validate_default=False)
    """Pools that take over when the chosen one fails, instead of the route's `failover`.
    `[None]`: the request never leaves the pool that was chosen."""
    min_healthy_percent: Percent | None = None
    """Instead of the route's `minHealthyPercent`."""

    @model_validator(mode="after")
    def _weights_are_not_all_zero(self) -> Self:
        if all(target.weight == 0 for target in self.targets):
            raise invalid("targets", "at least one weight must be above 0")
        duplicate = first_duplicate([target.pool for target in self.targets])
        if duplicate:
            raise invalid("targets", f"pool {duplicate} is listed twice; add the weights up")
        return self


def first_duplicate(names: list[str]) -> str | None:
    """The first name that stands in the list for a second time."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
