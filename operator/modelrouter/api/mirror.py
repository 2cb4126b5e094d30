"""`spec.mirror` of a ModelRoute: a share of its requests is copied to another pool."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from modelrouter.api.admission import Cel, checked_by
from modelrouter.api.metadata import ObjectName
from modelrouter.api.pool_name import PoolName
from modelrouter.api.rule import IMPLICIT_RULE
from modelrouter.api.strictness import StrictModel, invalid

_EVALUATOR_COMPARES = "an evaluator needs compare: true, which keeps the answers for it"
_EVALUATOR_IS_ANOTHER = "a pool does not judge its own answers; name another pool"
_MIRROR_CHECKS = (
    Cel("!has(self.evaluator) || (has(self.compare) && self.compare)", _EVALUATOR_COMPARES,
        at=".evaluator"),
    Cel("!has(self.evaluator) || self.evaluator != self.pool", _EVALUATOR_IS_ANOTHER,
        at=".evaluator"),
)  # fmt: skip

_SHADOW_SERVES_NOBODY = "a route with shadowOf serves no requests; take mirror out"
MIRROR_CHECKS = (
    Cel("!has(self.mirror) || !has(self.shadowOf)", _SHADOW_SERVES_NOBODY, at=".mirror"),
    Cel(
        "!has(self.mirror) || self.mirror.pool in self.pools",
        "the mirror's pool is not in pools; add it there to allow it",
        "self.mirror.pool + ' is not in pools; add it there to allow it'",
        at=".mirror.pool",
    ),
    Cel(
        "!has(self.mirror) || !has(self.mirror.evaluator) || self.mirror.evaluator in self.pools",
        "the mirror's evaluator is not in pools; add it there to allow it",
        "self.mirror.evaluator + ' is not in pools; add it there to allow it'",
        at=".mirror.evaluator",
    ),
    Cel(
        "!has(self.mirror) || !has(self.mirror.rule) || "
        f"self.mirror.rule == '{IMPLICIT_RULE}' || "
        "(has(self.rules) && self.rules.exists(rule, rule.name == self.mirror.rule))",
        "the mirror's rule is not in rules; name one of them, or leave rule out for all",
        "self.mirror.rule + ' is not in rules; name one of them, or leave rule out for all'",
        at=".mirror.rule",
    ),
)
"""What the rest of the route has to say to a mirror; the counterpart of `check_mirror`."""


class Mirror(StrictModel):
    """Requests that are copied to another pool. Answers to the copies are discarded; clients notice
    nothing of them."""

    model_config = ConfigDict(json_schema_extra=checked_by(*_MIRROR_CHECKS))

    pool: PoolName
    """Where copies go: a pool in `pools`, or an adapter there. What a pool may not see or cannot
    do (`dataClasses`, `features`, `contextWindow`) is not copied to it."""
    rule: ObjectName | None = None
    """Only requests that this rule places. Default: all requests of the route."""
    percent: Annotated[int, Field(ge=1, le=100)] = 100
    """Share of these requests that is copied, by a hash of the request's id."""
    compare: bool = False
    """Whether answers are compared with those to the copies. The report is at `/mirrorz` of the
    router's admin port. Texts stay in the router's memory, and only until they are compared. Not
    compared are answers to requests that waited for a pool at zero, and streams of a route with
    `brokenStreams: ErrorEvent`."""
    evaluator: PoolName | None = None
    """A pool in `pools` whose model is asked which of both answers is better. It has to be allowed
    to see the request's data classes. Its tokens cost what they cost."""

    @model_validator(mode="after")
    def _evaluator_can_judge(self) -> Self:
        if self.evaluator is not None and not self.compare:
            raise invalid("evaluator", _EVALUATOR_COMPARES)
        if self.evaluator == self.pool:
            raise invalid("evaluator", _EVALUATOR_IS_ANOTHER)
        return self


def check_mirror(
    mirror: Mirror, pools: Collection[str], rules: Collection[str], shadow_of: str | None
) -> None:
    """Raise an error about the field that does not fit the rest of the route."""
    if shadow_of is not None:
        raise invalid("mirror", _SHADOW_SERVES_NOBODY)
    for field, name in (("pool", mirror.pool), ("evaluator", mirror.evaluator)):
        if name is not None and name not in pools:
            message = f"{name} is not in pools; add it there to allow it"
            raise invalid(f"mirror.{field}", message)
    if mirror.rule is not None and mirror.rule not in (*rules, IMPLICIT_RULE):
        message = f"{mirror.rule} is not in rules; name one of them, or leave rule out for all"
        raise invalid("mirror.rule", message)
