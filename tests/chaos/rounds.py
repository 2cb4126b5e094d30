"""What is broken when: rounds of strikes, drawn from a seed.

In each round one pool is spared and the others are struck; besides, one thing happens to what is
around them. Kinds come from shuffled decks, so that a long run does everything equally often.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

Card = TypeVar("Card")

ROUND_SECONDS = 20.0
"""From the first strike on; then all is put right again."""


class Kind(StrEnum):
    """What can happen."""

    # To the model servers of a pool.
    KILL = "kill"
    FREEZE = "freeze"
    SLOW = "slow"
    ERRORS = "errors"
    TOO_MANY = "too-many"
    RESETS = "resets"
    SCALE = "scale"
    DELETE = "delete"
    # To what is around them.
    OPERATOR_KILL = "operator-kill"
    OPERATOR_DELETE = "operator-delete"
    AGENT_KILL = "agent-kill"
    ENVOY_KILL = "envoy-kill"
    ROUTER_DELETE = "router-delete"
    API_SERVER = "api-server"


ON_POOLS = (
    Kind.KILL,
    Kind.FREEZE,
    Kind.SLOW,
    Kind.ERRORS,
    Kind.TOO_MANY,
    Kind.RESETS,
    Kind.SCALE,
    Kind.DELETE,
)
AROUND = (
    Kind.OPERATOR_KILL,
    Kind.OPERATOR_DELETE,
    Kind.AGENT_KILL,
    Kind.ENVOY_KILL,
    Kind.ROUTER_DELETE,
    Kind.API_SERVER,
)
NEEDS_API = (Kind.SCALE, Kind.DELETE)


@dataclass(frozen=True, slots=True)
class Strike:
    """One thing that happens."""

    at: float
    """Seconds from the beginning of the round."""
    kind: Kind
    pool: str = ""
    """Whose servers; empty: it happens around them."""
    everyone: bool = False
    """All servers of the pool and not only one."""
    seconds: float = 0.0
    """How long it lasts, where it lasts."""
    amount: float = 0.0
    """Share of requests that fail, or replicas."""


@dataclass(frozen=True, slots=True)
class Round:
    """Strikes in the order of their time."""

    spared: str
    """This pool stays whole."""
    strikes: tuple[Strike, ...]


def rounds(seed: int, pools: Sequence[str]) -> Iterator[Round]:
    """Without end; the same for the same seed."""
    dice = random.Random(seed)
    spare, on_pools, around = _deck(dice, pools), _deck(dice, ON_POOLS), _deck(dice, AROUND)
    while True:
        spared = next(spare)
        strikes = [_around(dice, next(around))]
        for pool in pools:
            if pool != spared:
                strikes += [_on_pool(dice, next(on_pools), pool) for _ in range(2)]
        yield Round(spared, tuple(sorted(strikes, key=lambda strike: strike.at)))


def _deck(dice: random.Random, cards: Sequence[Card]) -> Iterator[Card]:
    while True:
        yield from dice.sample(cards, len(cards))


def _around(dice: random.Random, kind: Kind) -> Strike:
    # At the beginning, so that there is traffic while it comes back.
    return Strike(dice.uniform(0.0, 4.0), kind, seconds=dice.uniform(1.0, 5.0))


def _on_pool(dice: random.Random, kind: Kind, pool: str) -> Strike:
    at = dice.uniform(0.0, ROUND_SECONDS * 0.6)
    seconds = dice.uniform(3.0, ROUND_SECONDS - at)
    amount = float(dice.choice((1, 3, 4))) if kind is Kind.SCALE else dice.choice((0.3, 0.7, 1.0))
    return Strike(at, kind, pool, dice.random() < 0.5, seconds, amount)
