"""`canary` of a route: from one pool to another, step by step, while that one proves itself."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Self

import orjson
from pydantic import ConfigDict, Field, model_validator

from modelrouter.api.admission import LIST_OF_ONE_OWNER, Cel, checked_by, keyed_by
from modelrouter.api.canary_analysis import CanaryAnalysis
from modelrouter.api.metadata import ObjectName
from modelrouter.api.pool_name import PoolName
from modelrouter.api.quantities import HttpUrl, PositiveDuration, duration_between, milliseconds
from modelrouter.api.rule import IMPLICIT_RULE, Rule, RuleMatch
from modelrouter.api.strictness import StrictModel, invalid

CANARY_ANNOTATION = "modelrouter.dev/canary"
"""Annotation of a ModelRoute with a lever for its canary: `pause`, `abort`, `resume:STEP` or
`promote:POOL`."""


class CanaryStep(StrictModel):
    """A weight, and how long it holds at least."""

    weight: Annotated[int, Field(ge=0, le=100)]
    """Percent of the requests that `from` would get without the canary."""
    pause: Annotated[PositiveDuration, *duration_between("1s", "8760h")] | None = None
    """How long the step takes at least, from 1s. Without it the step waits until it is resumed by
    the annotation `modelrouter.dev/canary: resume:STEP`."""

    @property
    def seconds(self) -> float | None:
        """How long it takes at least; None: until it is resumed."""
        return None if self.pause is None else milliseconds(self.pause) / 1000


class HookMoment(StrEnum):
    """When a hook is called."""

    BEFORE_STEP = "BeforeStep"
    ON_TRANSITION = "OnTransition"


class CanaryHook(StrictModel):
    """A URL that is called as the canary goes on."""

    name: ObjectName
    """Name of the hook, unique in the canary."""
    url: HttpUrl
    """Gets a POST with JSON: namespace, route, canary, phase, step and weight. Anybody who can read
    the route can read it: it must hold no key."""
    at: HookMoment
    """`BeforeStep`: asked before each step; a status from 200 to 299 lets it begin, with any other
    it waits and is asked again. `OnTransition`: told about each step and phase, up to three times
    until it answers so; it holds up nothing."""
    timeout: Annotated[PositiveDuration, *duration_between("1ms", "60s")] = "10s"
    """How long one call may take, at most 60s."""

    @property
    def timeout_seconds(self) -> float:
        """How long one call may take."""
        return milliseconds(self.timeout) / 1000


class Canary(StrictModel):
    """Moves requests of a rule from one pool to another in steps."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Cel("self.from != self.to", "to must be another pool than from", at=".to"),
        )
    )

    rule: ObjectName | None = None
    """The rule whose targets it shifts; it may be left out if the route has no rules. `pools`: the
    one at the end of every route that takes what no rule matches."""
    stable: Annotated[PoolName, Field(alias="from")]
    """The pool that requests are taken from: a target of the rule; of `pools`, its first pool."""
    candidate: Annotated[PoolName, Field(alias="to")]
    """The pool that gets them; it must be in `pools`."""
    match: RuleMatch = RuleMatch()
    """Only these of the rule's requests take part; the others stay as they are. Without conditions:
    all."""
    steps: Annotated[
        list[CanaryStep],
        Field(min_length=1, max_length=32),
        LIST_OF_ONE_OWNER,
        Cel(
            "self.map(step, step.weight).isSorted() && "
            "self.all(step, self.exists_one(other, other.weight == step.weight))",
            "the weights of the steps must grow",
        ),
    ]
    """Weights that follow each other; they must grow. After the last one `to` gets all."""
    analysis: CanaryAnalysis = CanaryAnalysis()
    """What `to` has to prove before a step ends."""
    hooks: Annotated[list[CanaryHook], Field(max_length=8), keyed_by("name")] = []
    """URLs that are asked before steps, or told about them."""
    paused: bool = False
    """The weight stays as it is, and no step ends."""
    aborted: bool = False
    """The kill switch: everything goes back to `from` at once. When it is taken away, the canary
    begins anew."""

    @model_validator(mode="after")
    def _goes_somewhere(self) -> Self:
        if self.stable == self.candidate:
            raise invalid("to", "to must be another pool than from")
        for index, (before, step) in enumerate(zip(self.steps, self.steps[1:], strict=False)):
            if step.weight <= before.weight:
                raise invalid(f"steps[{index + 1}].weight", "the weights of the steps must grow")
        names = [hook.name for hook in self.hooks]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise invalid(f"hooks[{index}].name", f"two hooks have the same name {name}")
        return self

    @property
    def rule_name(self) -> str:
        """The rule whose targets it shifts."""
        return self.rule or IMPLICIT_RULE

    @property
    def id(self) -> str:
        """A short hash of what makes it this canary and no other: rule, pools and match."""
        match = self.match.model_dump(mode="json", exclude_defaults=True)
        content = [self.rule_name, self.stable, self.candidate, match]
        encoded = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
        return hashlib.blake2b(encoded, digest_size=4).hexdigest()


_MATCH_IS_GIVEN = " || ".join(
    ["has(last.match.promptTokens)"]
    + [
        f"(has(last.match.{name}) && size(last.match.{name}) > 0)"
        for name in ("headers", "models", "features", "dataClasses")
    ]
)
_HAS_IMPLICIT_RULE = (
    "!has(self.rules) || size(self.rules) == 0 || "
    "[self.rules[size(self.rules) - 1]].exists(last, "
    f"has(last.match) && ({_MATCH_IS_GIVEN}))"
)
_IS_RULE = "has(self.rules) && self.rules.exists(rule, rule.name == self.canary.rule)"
_BOTH_MATCH = "has(rule.match) && has(self.canary.match)"
_WHICH_RULE = "name the rule whose targets the canary shifts"
_NO_RULE = "there is no such rule; name a rule of the route"
_NO_TARGET = "from must be a target of the rule, with a weight above 0"
_NO_FIRST = "from must be the first of pools, which gets the requests that no rule matches"
_NOT_ALLOWED = "to is not in pools; add it there to allow it"
_MODEL = "match.models: a model that is not among those of the rule could never match"
_TOKENS = "match.promptTokens: no number of tokens lies in this range and in that of the rule"
_SHADOW = "a route with shadowOf serves no requests; take canary out"

CANARY_RULES = (
    Cel("!has(self.canary) || !has(self.shadowOf)", _SHADOW, at=".canary"),
    Cel(
        "!has(self.canary) || has(self.canary.rule) || !has(self.rules) || size(self.rules) == 0",
        _WHICH_RULE,
        at=".canary",
    ),
    Cel(
        f"!has(self.canary) || !has(self.canary.rule) || ({_IS_RULE}) || "
        f"(self.canary.rule == '{IMPLICIT_RULE}' && ({_HAS_IMPLICIT_RULE}))",
        _NO_RULE,
        at=".canary.rule",
    ),
    Cel(
        "!has(self.canary) || !has(self.canary.rule) || !has(self.rules) || "
        "self.rules.all(rule, rule.name != self.canary.rule || rule.targets.exists(target, "
        "target.pool == self.canary.from && target.weight > 0))",
        _NO_TARGET,
        at=".canary.from",
    ),
    Cel(
        f"!has(self.canary) || (has(self.canary.rule) && (self.canary.rule != '{IMPLICIT_RULE}' || "
        f"({_IS_RULE}))) || self.pools.size() == 0 || self.pools[0] == self.canary.from",
        _NO_FIRST,
        at=".canary.from",
    ),
    Cel("!has(self.canary) || self.canary.to in self.pools", _NOT_ALLOWED, at=".canary.to"),
    Cel(
        "!has(self.canary) || !has(self.canary.match) || !has(self.canary.match.models) || "
        "(self.canary.match.models.all(model, has(self.models) && model in self.models) && "
        "(!has(self.canary.rule) || !has(self.rules) || self.rules.all(rule, "
        "rule.name != self.canary.rule || !has(rule.match) || !has(rule.match.models) || "
        "size(rule.match.models) == 0 || "
        "self.canary.match.models.all(model, model in rule.match.models))))",
        _MODEL,
        at=".canary.match",
    ),
    Cel(
        "!has(self.canary) || !has(self.canary.rule) || !has(self.rules) || "
        f"self.rules.all(rule, rule.name != self.canary.rule || !({_BOTH_MATCH}) || "
        "!has(rule.match.promptTokens) || !has(self.canary.match.promptTokens) || "
        "((!has(rule.match.promptTokens.min) || !has(self.canary.match.promptTokens.max) || "
        "rule.match.promptTokens.min <= self.canary.match.promptTokens.max) && "
        "(!has(rule.match.promptTokens.max) || !has(self.canary.match.promptTokens.min) || "
        "self.canary.match.promptTokens.min <= rule.match.promptTokens.max)))",
        _TOKENS,
        at=".canary.match",
    ),
)
"""What a canary's references are checked by, as rules of the route's spec."""


def check_canary(
    canary: Canary, rules: Sequence[Rule], pools: Sequence[str], models: Sequence[str]
) -> None:
    """Whether a canary fits the rules, pools and models of the route that it belongs to.

    Raises an error about the field below the route's spec that is wrong.
    """
    if canary.rule is None and rules:
        raise invalid("canary.rule", _WHICH_RULE)
    rule = next((rule for rule in rules if rule.name == canary.rule_name), None)
    if rule is None:
        if canary.rule_name != IMPLICIT_RULE or (rules and rules[-1].match.is_empty):
            raise invalid("canary.rule", _NO_RULE)
        if pools[0] != canary.stable:
            raise invalid("canary.from", _NO_FIRST)
    elif not any(target.pool == canary.stable and target.weight for target in rule.targets):
        raise invalid("canary.from", _NO_TARGET)
    if canary.candidate not in pools:
        raise invalid("canary.to", _NOT_ALLOWED)
    possible = rule.match.models if rule is not None and rule.match.models else models
    if not set(canary.match.models) <= set(possible) & set(models):
        raise invalid("canary.match.models", _MODEL)
    ours, theirs = canary.match.prompt_tokens, rule.match.prompt_tokens if rule else None
    if ours is not None and theirs is not None:
        least = max(ours.min or 0, theirs.min or 0)
        if any(end.max is not None and end.max < least for end in (ours, theirs)):
            raise invalid("canary.match.promptTokens", _TOKENS)
