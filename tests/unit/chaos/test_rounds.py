"""What is broken when."""

from __future__ import annotations

from itertools import islice

import pytest

from chaos.rounds import AROUND, ON_POOLS, ROUND_SECONDS, Kind, rounds

POOLS = ("alpha", "beta", "gamma")


@pytest.mark.parametrize("seed", range(20))
def test_a_pool_is_spared_in_every_round(seed: int) -> None:
    for round_ in islice(rounds(seed, POOLS), 30):
        assert round_.spared in POOLS
        assert round_.spared not in {strike.pool for strike in round_.strikes}


def test_the_same_seed_does_the_same_and_another_something_else() -> None:
    first, again, other = (list(islice(rounds(seed, POOLS), 10)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("seed", range(20))
def test_everything_happens_within_six_rounds(seed: int) -> None:
    """And each pool is spared once in three rounds."""
    found = list(islice(rounds(seed, POOLS), 6))
    assert {strike.kind for round_ in found for strike in round_.strikes} == set(Kind)
    assert set(Kind) == {*ON_POOLS, *AROUND}
    assert {round_.spared for round_ in found[:3]} == set(POOLS)


@pytest.mark.parametrize("seed", range(20))
def test_strikes_come_in_order_and_end_with_their_round(seed: int) -> None:
    for round_ in islice(rounds(seed, POOLS), 30):
        moments = [strike.at for strike in round_.strikes]
        assert moments == sorted(moments)
        assert all(strike.at + strike.seconds <= ROUND_SECONDS for strike in round_.strikes)
