"""Counts of endpoints are told at once, and not too often."""

from __future__ import annotations

import asyncio

import pytest

from modelrouter.router.pool_counts import PoolCounts

ONE, TWO, THREE = ({"a": {"ready": n, "total": 3}} for n in (1, 2, 3))


async def test_the_first_change_is_told_at_once_and_the_last_of_many_in_time() -> None:
    counts = PoolCounts(renewal_seconds=0.2)
    empty = counts.digest
    counts.offer(ONE)
    assert counts.counts == ONE
    first = counts.digest
    assert first != empty
    counts.offer(TWO)
    counts.offer(THREE)
    assert counts.counts == ONE
    await asyncio.wait_for(counts.changed(first), 2)
    assert counts.counts == THREE


async def test_counts_that_come_back_are_not_told() -> None:
    counts = PoolCounts(renewal_seconds=0.1)
    counts.offer(ONE)
    before = counts.digest
    counts.offer(TWO)
    counts.offer(ONE)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(counts.changed(before), 0.4)
    assert counts.counts == ONE


async def test_another_digest_is_no_reason_to_wait() -> None:
    counts = PoolCounts()
    counts.offer(ONE)
    await asyncio.wait_for(counts.changed("something else"), 1)


def test_equal_counts_have_equal_digests() -> None:
    one, other = PoolCounts(), PoolCounts()
    one.offer({"a": {"ready": 1, "total": 2}, "b": {"ready": 0, "total": 0}})
    other.offer({"b": {"total": 0, "ready": 0}, "a": {"total": 2, "ready": 1}})
    assert one.digest == other.digest


async def test_that_somebody_waits_is_told_at_once_and_how_many_in_time() -> None:
    def load(waiting: int) -> dict[str, dict[str, int]]:
        return {"a": {"ready": 0, "total": 0, "inFlight": 0, "waiting": waiting}}

    counts = PoolCounts(renewal_seconds=0.3)
    counts.offer(load(0))
    counts.offer(load(1))
    assert counts.counts == load(1)
    counts.offer(load(7))
    counts.offer(load(0))
    assert counts.counts == load(1)
    await asyncio.wait_for(counts.changed(counts.digest), 2)
    assert counts.counts == load(0)
