"""The work queue: each key once, one worker per key, failures tried again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from modelrouter.controller.queue import WorkQueue


@asynccontextmanager
async def running(
    work: Callable[[str], Awaitable[float | None]], workers: int = 4
) -> AsyncIterator[WorkQueue[str]]:
    queue = WorkQueue("test", work, workers=workers)
    task = asyncio.create_task(queue.run())
    try:
        yield queue
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_marks_of_a_waiting_key_are_one() -> None:
    seen: list[str] = []

    async def work(key: str) -> None:
        seen.append(key)

    async with running(work) as queue:
        for _ in range(5):
            queue.add("a")
        queue.add("b")
        assert queue.depth["waiting"] == 2
        await until(lambda: queue.idle)
    assert sorted(seen) == ["a", "b"]


async def test_a_key_marked_while_it_is_worked_on_runs_once_more_and_never_twice_at_once() -> None:
    gate, active, most, runs = asyncio.Event(), 0, 0, 0

    async def work(key: str) -> None:
        nonlocal active, most, runs
        active, runs = active + 1, runs + 1
        most = max(most, active)
        await gate.wait()
        active -= 1

    async with running(work) as queue:
        queue.add("a")
        await until(lambda: active == 1)
        for _ in range(3):
            queue.add("a")
        gate.set()
        await until(lambda: queue.idle)
    assert (runs, most) == (2, 1)


async def test_no_more_keys_at_once_than_workers() -> None:
    gate, active, most = asyncio.Event(), 0, 0

    async def work(key: str) -> None:
        nonlocal active, most
        active += 1
        most = max(most, active)
        await gate.wait()
        active -= 1

    async with running(work, workers=2) as queue:
        for number in range(6):
            queue.add(str(number))
        await until(lambda: active == 2)
        gate.set()
        await until(lambda: queue.idle)
    assert most == 2


async def test_what_failed_comes_back_until_it_works() -> None:
    runs = 0

    async def work(key: str) -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise OSError("not now")

    async with running(work) as queue:
        queue.add("a")
        await until(lambda: runs == 3 and queue.idle)


async def test_a_server_that_asks_for_patience_gets_it() -> None:
    class BusyError(Exception):
        retry_after = 3600.0

    async def work(key: str) -> None:
        raise BusyError

    async with running(work) as queue:
        queue.add("a")
        await until(lambda: queue.depth["delayed"] == 1)
        (timer,) = queue._timers.values()
        assert timer.when() - asyncio.get_running_loop().time() > 3500


async def test_pauses_after_failures_grow_up_to_a_limit() -> None:
    queue = WorkQueue("test", lambda key: asyncio.sleep(0), workers=1)
    pauses = [queue._pause_after_failure("a") for _ in range(12)]
    assert pauses[0] <= 0.1
    assert all(0.05 * 2**n <= pause <= 0.1 * 2**n for n, pause in enumerate(pauses[:8]))
    assert max(pauses) <= 30
    assert queue._pause_after_failure("b") <= 0.1


async def test_work_asks_to_be_looked_at_again() -> None:
    runs = 0

    async def work(key: str) -> float | None:
        nonlocal runs
        runs += 1
        return 0.01 if runs < 3 else None

    async with running(work) as queue:
        queue.add("a")
        await until(lambda: runs == 3 and queue.idle)


async def test_a_mark_now_overtakes_a_mark_for_later() -> None:
    seen: list[str] = []

    async def work(key: str) -> None:
        seen.append(key)

    async with running(work) as queue:
        queue.add("a", delay=3600)
        assert not queue.idle
        queue.add("a")
        await until(lambda: queue.idle)
    assert seen == ["a"]


async def test_of_two_marks_for_later_the_sooner_counts() -> None:
    seen: list[str] = []

    async def work(key: str) -> None:
        seen.append(key)

    async with running(work) as queue:
        queue.add("a", delay=0.01)
        queue.add("a", delay=3600)
        queue.add("b", delay=3600)
        queue.add("b", delay=0.01)
        await until(lambda: queue.idle)
    assert sorted(seen) == ["a", "b"]


async def test_what_is_not_to_be_tried_again_ends_the_queue() -> None:
    class LostError(Exception):
        pass

    async def work(key: str) -> None:
        raise LostError

    queue: WorkQueue[str] = WorkQueue(
        "test", work, workers=2, retryable=lambda error: not isinstance(error, LostError)
    )
    queue.add("a")
    with pytest.RaisesGroup(LostError):
        await asyncio.wait_for(queue.run(), 10)


async def test_what_somebody_waits_for_goes_first_and_only_once() -> None:
    seen: list[str] = []
    gate = asyncio.Event()

    async def work(key: str) -> None:
        seen.append(key)
        await gate.wait()

    async with running(work, workers=1) as queue:
        queue.add("busy")
        await until(lambda: queue.depth["active"] == 1)
        for key in "abcd":
            queue.add(key)
        queue.add("c", first=True)
        queue.add("e", first=True)
        queue.add("c", first=True)
        queue.add("c")
        assert queue.depth["waiting"] == 5
        gate.set()
        await until(lambda: queue.idle)
    assert seen == ["busy", "c", "e", "a", "b", "d"]
