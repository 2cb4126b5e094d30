"""`ModelRoute`: a virtual model name and the policy that picks a pool for each request."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from modelrouter.api.admission import LIST_OF_ONE_OWNER, UNIQUE, Cel, Matching, checked_by, keyed_by
from modelrouter.api.canary import CANARY_RULES, Canary, check_canary
from modelrouter.api.failover import NO_FAILOVER, Failover, Percent
from modelrouter.api.metadata import API_VERSION, ObjectMeta, ObjectName, RouterName
from modelrouter.api.mirror import MIRROR_CHECKS, Mirror, check_mirror
from modelrouter.api.pool_name import PoolName, pool_of
from modelrouter.api.quantities import PositiveDuration
from modelrouter.api.rule import HeaderName, ModelName, Rule, first_duplicate
from modelrouter.api.shadow import SHADOW_RULES, check_models
from modelrouter.api.strictness import StrictModel, invalid


class StickyBy(StrEnum):
    """What keeps requests on the same pool."""

    SESSION = "Session"
    PREFIX = "Prefix"


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
                "!has(self.rules) || has(self.shadowOf) || !has(self.models) || "
                "self.rules.all(rule, !has(rule.match) || !has(rule.match.models) || "
                "rule.match.models.all(model, model in self.models))",
                "a rule matches a model that is not in models; add it there",
                "'rule %s matches a model that is not in models, so it could never match; "
                "add it to models or remove it here'.format([self.rules.filter(rule, "
                "has(rule.match) && has(rule.match.models) && "
                "!rule.match.models.all(model, model in self.models))[0].name])",
                at=".rules",
            ),
            *SHADOW_RULES,
            *CANARY_RULES,
            *MIRROR_CHECKS,
        )
    )

    router: RouterName = "default"
    """The router that serves this route. Routes of one namespace that name the same router share
    its deployment."""
    shadow_of: ObjectName | None = None
    """The name of another ModelRoute of the same router. This one then serves no requests: its
    policy decides each request for that route as well, without effect, and metrics tell where it
    would have sent them. To try a policy out on real traffic before it takes over."""
    models: Annotated[list[ModelName], Field(max_length=64), UNIQUE] = []
    """Virtual model names: what clients put in `model`. At least one, except with `shadowOf`,
    which claims none."""
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
    canary: Canary | None = None
    """Moves a rule's requests from one of its pools to another, step by step, as long as the other
    one proves itself."""
    mirror: Mirror | None = None
    """Copies a share of the requests to another pool, whose answers nobody gets."""
    broken_streams: BrokenStreams = BrokenStreams.CLOSE
    """What a client gets when a server fails in the middle of a streamed answer. `Close`: the end
    of the connection, before that of the answer. `ErrorEvent`: an event with an error, and
    `[DONE]`. For this the agent passes on every event: that costs CPU, and with the agent these
    streams end."""

    @model_validator(mode="after")
    def _stays_within_pools(self) -> Self:
        check_models(self.models, self.shadow_of)
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
                if model not in self.models and self.shadow_of is None:
                    raise invalid(
                        f"rules[{index}].match.models",
                        f"{model} is not in models, so the rule could never match; "
                        f"add it to models or remove it here",
                    )
        if self.canary is not None:
            if self.shadow_of is not None:
                raise invalid("canary", "a route with shadowOf serves no requests; take canary out")
            check_canary(self.canary, self.rules, self.pools, self.models)
        if self.mirror is not None:
            rules = [rule.name for rule in self.rules]
            check_mirror(self.mirror, self.pools, rules, self.shadow_of)
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
