"""A canary's weight → the weights of the rule that it splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

from modelrouter.api.canary import Canary
from modelrouter.api.canary_status import CanaryPhase, CanaryStatus
from modelrouter.api.router_config import CanaryConfig, Conditions, RuleConfig, WeightedPool


@dataclass(frozen=True, slots=True)
class Split:
    """What a canary does to its rule just now."""

    canary: Canary
    weight: int
    """Percent of what the stable pool would get that goes to the candidate."""
    running: bool
    """Whether the arms are told apart and measured."""

    @property
    def config(self) -> CanaryConfig | None:
        """What routers are told; None: the canary does not run."""
        if not self.running:
            return None
        canary = self.canary
        return CanaryConfig(
            id=canary.id,
            rule=canary.rule_name,
            stable=canary.stable,
            candidate=canary.candidate,
        )


def split_in_force(canary: Canary | None, status: CanaryStatus | None) -> Split | None:
    """What a canary does by its status; None: nothing.

    A status of another canary, such as the one that was there before an edit, is none of its
    business.
    """
    if canary is None or status is None or status.id != canary.id:
        return None
    if status.phase.running:
        return Split(canary, status.weight, running=True)
    if status.phase is CanaryPhase.PROMOTED:
        return Split(canary, 100, running=False)
    return None


def shifted(
    targets: Sequence[tuple[str, int]], split: Split, known: Sequence[str]
) -> list[WeightedPool]:
    """A rule's targets with a part of the stable pool's weight at the candidate, those that exist.

    All others get what they would get without the canary. The weights are as small as whole numbers
    can be. Nothing moves to a candidate that does not exist, nor from a stable pool that does not,
    unless the candidate was promoted.
    """
    canary, weight = split.canary, split.weight
    # A candidate that was promoted has taken the place of a stable pool that is gone by now.
    needed = {canary.stable, canary.candidate} if split.running else {canary.candidate}
    if not needed.issubset(known):
        weight = 0
    weights = dict(targets)
    moving = weights.get(canary.stable, 0)
    if weight:
        own = weights.get(canary.candidate, 0)
        weights = {name: own_weight * 100 for name, own_weight in weights.items()}
        weights[canary.stable] = moving * (100 - weight)
        weights[canary.candidate] = own * 100 + moving * weight
    present = {name: value for name, value in weights.items() if name in known}
    smallest = gcd(*present.values()) if weight else 1
    return [
        WeightedPool(pool=name, weight=value // max(smallest, 1)) for name, value in present.items()
    ]


def segment(rule: RuleConfig, match: Conditions, targets: list[WeightedPool]) -> RuleConfig:
    """The part of a rule that its canary is limited to: what fulfils both conditions."""
    own = rule.conditions
    both = Conditions(
        headers=[*own.headers, *match.headers],
        models=match.models or own.models,
        min_prompt_tokens=_largest(own.min_prompt_tokens, match.min_prompt_tokens),
        max_prompt_tokens=_smallest(own.max_prompt_tokens, match.max_prompt_tokens),
        features=list(dict.fromkeys([*own.features, *match.features])),
        data_classes=own.data_classes,
        segment_data_classes=match.data_classes,
    )
    return rule.model_copy(update={"conditions": both, "targets": targets, "segment": True})


def _largest(one: int | None, other: int | None) -> int | None:
    given = [number for number in (one, other) if number is not None]
    return max(given, default=None)


def _smallest(one: int | None, other: int | None) -> int | None:
    given = [number for number in (one, other) if number is not None]
    return min(given, default=None)
