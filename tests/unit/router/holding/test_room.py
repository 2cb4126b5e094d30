"""Places in the waiting room: how many there are, who leaves, and when doors open."""

from __future__ import annotations

import asyncio

import pytest

from modelrouter.api.router_config import PoolScaling
from modelrouter.policy.state import PoolState
from modelrouter.router.holding import room as room_module
from modelrouter.router.holding.room import DismissedError, FullError, WaitingRoom


@pytest.fixture
def states() -> dict[str, PoolState]:
    return {"a": PoolState(ready=0, endpoints=0, cold=True)}


@pytest.fixture
def room(states: dict[str, PoolState]) -> WaitingRoom:
    found = WaitingRoom(states)
    found.scalings = {"a": PoolScaling(from_zero=True, max_waiting=2)}
    return found


def test_places_are_counted_and_bounded(room: WaitingRoom, states: dict[str, PoolState]) -> None:
    with room.enter("a") as first, room.enter("a"):
        assert (room.waiting, states["a"].waiting) == ({"a": 2}, 2)
        with pytest.raises(FullError):
            room.enter("a")
        first.leave()
        with room.enter("a") as third:
            first.take()  # a place that was left for a try is one's own
            assert room.waiting == {"a": 3}
            third.end("served")
            assert room.waiting == {"a": 2}
    assert (room.waiting, states["a"].waiting, room.occupied) == ({}, 0, False)
    assert room.ended == {("a", "full"): 1, ("a", "served"): 1, ("a", "gone"): 2}
    assert sum(room.seconds["a"].counts) == 3


def test_bodies_are_bounded_together(room: WaitingRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_module, "MOST_BYTES", 100)
    with room.enter("a") as first, room.enter("a") as second:
        first.hold(60)
        with pytest.raises(FullError):
            second.hold(41)
        second.hold(40)
        first.end("served")
        second.hold(60)
    assert room.bytes == 0


async def test_doors_open_when_the_pool_is_warm_or_gone(
    room: WaitingRoom, states: dict[str, PoolState]
) -> None:
    states["b"] = PoolState(cold=True)
    waiting = [asyncio.create_task(room.until_ready(pool)) for pool in "aab"]
    await asyncio.sleep(0)
    room.open_doors()
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    states["a"].cold = False
    room.open_doors()
    await asyncio.gather(*waiting[:2])
    assert not waiting[2].done()
    del states["b"]
    room.open_doors()
    await waiting[2]
    await room.until_ready("a")


async def test_those_who_wait_can_be_dismissed(room: WaitingRoom) -> None:
    waiting = asyncio.create_task(room.until_ready("a"))
    await asyncio.sleep(0)
    room.dismiss()
    with pytest.raises(DismissedError):
        await waiting


def test_a_pool_is_wanted_for_a_while(states: dict[str, PoolState]) -> None:
    now = [0.0]
    room = WaitingRoom(states, lambda: now[0])
    room.scalings = {"a": PoolScaling(from_zero=True)}
    assert room.wanted("a") == 0
    room.wake("a")
    assert room.wanted("a") == 1
    with room.enter("a"), room.enter("a"):
        assert room.wanted("a") == 2
    now[0] = 10.1
    assert room.wanted("a") == 0
