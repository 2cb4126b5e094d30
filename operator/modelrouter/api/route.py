"""`ModelRoute`: a virtual model name and the policy that picks a pool for each request."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from modelrouter.api.admission import LIST_OF_ONE_OWNER, UNIQUE, Cel, Matching, checked_by, keyed_by
from modelrouter.api.failover import NO_FAILOVER, Failover, Percent
from modelrouter.api.metadata import API_VERSION, ObjectMeta, ObjectName, RouterName
from modelrouter.api.pool import Feature
from modelrouter.api.pool_name import PoolName, pool_of
from modelrouter.api.quantities import PositiveDuration
from modelrouter.api.strictness import StrictModel, invalid

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


class StickyBy(StrEnum):
    """What keeps requests on the same pool."""

    SESSION = "Session"
    PREFIX = "Prefix"


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


_TRIGGER = r"^(connect-failure|reset|5xx|[45][0-9][0-9])$"
RetryTrigger = Annotated[
    str,
    Field(pattern=_TRIGGER),
    Matching(_TRIGGER, "write connect-failure, reset, 5xx or a status code such as 429", 15),
]
"""`connect-failure`, `reset`, `5xx` (with timeouts) or one status code such as `429`."""


class Retry(StrictModel):
    """When a request is sent again. Never after the first byte of an answer."""

    attempts: Annotated[int, Field(ge=1, le=5)] = 2
    """Attempts in one pool before the next pool takes over, the first one included. A pool with
    a single endpoint gets one attempt as long as another pool follows."""
    # Not called `on`: kubectl, like all readers of YAML 1.1, takes an unquoted `on` for `true`.
    triggers: Annotated[list[RetryTrigger], Field(max_length=16), LIST_OF_ONE_OWNER] = [
        "connect-failure",
        "reset",
        "5xx",
        "429",
    ]
    """Failures after which the request is sent again."""
    per_try_timeout: PositiveDuration | None = None
    """Time that one attempt has to send the first byte of its answer. Default: 60 s for a
    streamed answer; otherwise `timeout.request` divided by the number of attempts."""


class Timeout(StrictModel):
    """How long requests may take."""

    request: PositiveDuration = "600s"
    """Time for a whole answer that is not streamed, all attempts included. Streamed answers have
    no such limit."""
    idle: PositiveDuration = "60s"
    """Longest silence within a streamed answer, also before its first byte."""


class BrokenStreams(StrEnum):
    """What ends a streamed answer whose server fails in the middle of it."""

    CLOSE = "Close"
    ERROR_EVENT = "ErrorEvent"


class Sticky(StrictModel):
    """Which requests stay on the same pool as long as it is healthy."""

    by: StickyBy
    """`Session`: requests with the same session header. `Prefix`: requests whose prompts begin
    alike, so that the pool's prompt cache stays warm."""
    header: HeaderName = "x-session-id"
    """The header that names the session."""


class ModelRouteSpec(StrictModel):
    """What a ModelRoute says."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Cel(
                "!has(self.failover) || self.failover.all(pool, pool == 'None' || "
                "pool in self.pools)",
                "a pool is not in pools; add it there to allow it",
                "self.failover.filter(pool, !(pool in self.pools))[0]"
                " + ' is not in pools; add it there to allow it'",
                at=".failover",
            ),
            Cel(
                "!has(self.rules) || self.rules.all(rule, "
                "rule.targets.all(target, target.pool in self.pools))",
                "a target's pool is not in pools; add it there to allow it",
                "'rule %s: target %s is not in pools; add it there to allow it'.format("
                "self.rules.map(rule, rule.targets.filter(target, !(target.pool in self.pools))"
                ".map(target, [rule.name, target.pool])).filter(found, size(found) > 0)[0][0])",
                at=".rules",
            ),
            Cel(
                "!has(self.rules) || self.rules.all(rule, !has(rule.failover) || "
                "rule.failover.all(pool, pool == 'None' || pool in self.pools))",
                "a pool in a rule's failover is not in pools; add it there to allow it",
                "'rule %s: failover %s is not in pools; add it there to allow it'.format("
                "self.rules.filter(rule, has(rule.failover)).map(rule, "
                "rule.failover.filter(pool, pool != 'None' && !(pool in self.pools))"
                ".map(pool, [rule.name, pool])).filter(found, size(found) > 0)[0][0])",
                at=".rules",
            ),
            Cel(
                "!has(self.rules) || self.rules.all(rule, !has(rule.match) || "
                "!has(rule.match.models) || "
                "rule.match.models.all(model, model in self.models))",
                "a rule matches a model that is not in models; add it there",
                "'rule %s matches a model that is not in models, so it could never match; "
                "add it to models or remove it here'.format([self.rules.filter(rule, "
                "has(rule.match) && has(rule.match.models) && "
                "!rule.match.models.all(model, model in self.models))[0].name])",
                at=".rules",
            ),
        )
    )

    router: RouterName = "default"
    """The router that serves this route. Routes of one namespace that name the same router share
    its deployment."""
    models: Annotated[list[ModelName], Field(min_length=1, max_length=64), UNIQUE]
    """Virtual model names: what clients put in `model`."""
    pools: Annotated[
        list[PoolName],
        Field(min_length=1, max_length=64),
        LIST_OF_ONE_OWNER,
        Cel(
            "self.all(pool, self.exists_one(other, other == pool))",
            "a pool is listed twice",
            "self.filter(pool, !self.exists_one(other, other == pool))[0] + ' is listed twice'",
        ),
    ]
    """The ModelPools that may be used, and `pool/adapter` for their adapters. Nothing else ever
    is."""
    rules: Annotated[list[Rule], Field(max_length=64), keyed_by("name")] = []
    """Rules in order; the first that matches decides. None matches: `pools` in their order."""
    failover: Failover = Field(default=None, validate_default=False)
    """Pools that take over, in order, when the chosen one fails. Default: `pools` in order.
    `[None]`: a request never leaves the pool that was chosen."""
    min_healthy_percent: Percent = 0
    """Endpoints of a pool that have to be healthy for it to take all of its requests. With fewer,
    the next pool of `failover` takes a share: all of it that the healthy ones fall short of.
    0: a pool takes them as long as one endpoint is healthy."""
    retry: Retry = Retry()
    """When a request is sent again."""
    timeout: Timeout = Timeout()
    """How long requests may take."""
    sticky: Sticky | None = None
    """Which requests stay together. Default: each request is placed by itself."""
    broken_streams: BrokenStreams = BrokenStreams.CLOSE
    """What a client gets when a server fails in the middle of a streamed answer. `Close`: the end
    of the connection, before that of the answer. `ErrorEvent`: an event with an error, and
    `[DONE]`. For this the agent passes on every event: that costs CPU, and with the agent these
    streams end."""

    @model_validator(mode="after")
    def _stays_within_pools(self) -> Self:
        for what, names in (
            ("pools", self.pools),
            ("models", self.models),
            ("rules", [rule.name for rule in self.rules]),
        ):
            if duplicate := first_duplicate(names):
                raise invalid(what, f"{duplicate} is listed twice")
        self._check_allowed("failover", self.failover)
        for index, rule in enumerate(self.rules):
            for position, target in enumerate(rule.targets):
                self._check_allowed(f"rules[{index}].targets[{position}].pool", [target.pool])
            self._check_allowed(f"rules[{index}].failover", rule.failover)
            for model in rule.match.models:
                if model not in self.models:
                    raise invalid(
                        f"rules[{index}].match.models",
                        f"{model} is not in models, so the rule could never match; "
                        f"add it to models or remove it here",
                    )
        return self

    @property
    def model_pools(self) -> list[str]:
        """The ModelPools that are named, by themselves or for an adapter; each once."""
        return list(dict.fromkeys(pool_of(name) for name in self.pools))

    def _check_allowed(self, field: str, names: list[str] | None) -> None:
        for name in names or ():
            if name not in self.pools and name != NO_FAILOVER:
                raise invalid(field, f"{name} is not in pools; add it there to allow it")


class ModelRoute(StrictModel):
    """A virtual model and the policy that serves it."""

    api_version: Literal["modelrouter.dev/v1alpha1"] = API_VERSION
    kind: Literal["ModelRoute"] = "ModelRoute"
    metadata: ObjectMeta
    spec: ModelRouteSpec
    status: dict[str, Any] | None = None


def first_duplicate(names: list[str]) -> str | None:
    """The first name that stands in the list for a second time."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
