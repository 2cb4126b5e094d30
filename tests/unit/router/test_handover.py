"""While all endpoints of a pool are replaced, some that Envoy has probed stay for a moment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrouter.router.handover import PROBING_SECONDS, Handover

EARLY = PROBING_SECONDS / 10
NOW = 100.0


@pytest.fixture
def handover() -> Handover:
    """Two endpoints that Envoy has had for long."""
    return Handover(["a", "b"], NOW - 60)


def test_one_of_several_goes_at_once(handover: Handover) -> None:
    assert handover.take(["b"], NOW) == ["b"]
    assert handover.again_at is None


def test_with_the_last_one_all_go_at_once(handover: Handover) -> None:
    assert handover.take([], NOW) == []
    assert handover.again_at is None


def test_when_all_are_replaced_the_old_stay_until_the_new_are_probed(handover: Handover) -> None:
    assert handover.take(["c", "d"], NOW) == ["a", "b", "c", "d"]
    assert handover.again_at == NOW + PROBING_SECONDS
    assert handover.take(["c", "d"], NOW + EARLY) == ["a", "b", "c", "d"]
    assert handover.take(["c", "d"], NOW + PROBING_SECONDS) == ["c", "d"]
    assert handover.again_at is None


def test_one_that_has_just_come_is_not_left_alone(handover: Handover) -> None:
    assert handover.take(["a", "b", "c"], NOW) == ["a", "b", "c"]
    assert handover.take(["c"], NOW + EARLY) == ["a", "b", "c"]
    assert handover.again_at == NOW + PROBING_SECONDS
    assert handover.take(["c"], NOW + PROBING_SECONDS) == ["c"]


def test_one_that_has_been_probed_lets_the_others_go(handover: Handover) -> None:
    assert handover.take(["c"], NOW) == ["a", "b", "c"]
    assert handover.take(["b", "c"], NOW + EARLY) == ["b", "c"]
    assert handover.again_at is None


def test_nothing_that_left_stays_for_long_though_new_ones_keep_coming(handover: Handover) -> None:
    for step in range(10):
        handover.take([f"new-{step}"], NOW + step * EARLY)
    assert handover.take(["new-10"], NOW + 10 * EARLY) == ["new-10"]


def test_one_that_came_and_went_at_once_is_of_no_help() -> None:
    handover = Handover(["a"], NOW)
    assert handover.take(["b"], NOW + EARLY) == ["b"]


STEP = st.tuples(st.floats(0, 2 * PROBING_SECONDS), st.sets(st.sampled_from("abcd")))


@given(st.lists(STEP, min_size=1))
def test_what_is_wanted_is_there_and_what_left_goes_in_time(
    steps: list[tuple[float, set[str]]],
) -> None:
    handover, now, left = Handover("abcd", NOW - 60), NOW, dict[str, float]()

    def take(wanted: set[str]) -> set[str]:
        has = set(handover.take(wanted, now))
        for address in "abcd":
            if address in wanted:
                left.pop(address, None)
            else:
                left.setdefault(address, now)
        assert wanted <= has
        assert wanted or not has
        assert all(now < left[address] + PROBING_SECONDS for address in has - wanted)
        assert (handover.again_at is None) == (has == wanted)
        return has

    for pause, wanted in steps:
        now += pause
        has = take(wanted)
        while handover.again_at is not None:
            assert now < handover.again_at <= now + PROBING_SECONDS
            now = handover.again_at
            has, before = take(wanted), has
            assert has < before
