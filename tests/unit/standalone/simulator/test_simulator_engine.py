"""The prefix cache, admission, the fault plan and the journal."""

from __future__ import annotations

import asyncio

import pytest

from modelrouter.standalone.simulator.engine import Engine, Run
from modelrouter.standalone.simulator.errors import EngineDeadError
from modelrouter.standalone.simulator.faults import Faults
from modelrouter.standalone.simulator.journal import Journal
from modelrouter.standalone.simulator.metrics import Histogram
from modelrouter.standalone.simulator.prefix_cache import PrefixCache
from modelrouter.standalone.simulator.prompts import Prompt, chat_prompt, text_prompt
from modelrouter.standalone.simulator.settings import SimulatorSettings

BLOCK = 64
"""Bytes of one block of 16 tokens."""


def text(*blocks: str) -> bytes:
    return b"".join(block.encode() * BLOCK for block in blocks) + b"!"


def test_only_whole_blocks_from_the_start_are_found() -> None:
    cache = PrefixCache(blocks=100, block_size=16)
    assert cache.take(text("a", "b", "c")) == 0
    assert cache.take(text("a", "b", "c")) == 48
    assert cache.take(text("a", "b", "x")) == 32
    assert cache.take(text("x", "b", "c")) == 0
    assert cache.take(b"short") == 0


def test_the_last_token_is_never_found() -> None:
    cache = PrefixCache(blocks=100, block_size=16)
    cache.take(b"a" * BLOCK * 2)
    assert cache.take(b"a" * BLOCK * 2) == 16


def test_the_least_recently_used_block_is_forgotten() -> None:
    cache = PrefixCache(blocks=2, block_size=16)
    cache.take(text("a"))
    cache.take(text("b"))
    cache.take(text("a"))
    cache.take(text("c"))
    assert len(cache) == 2
    assert cache.take(text("a")) == 16
    assert cache.take(text("b")) == 0


def test_the_start_of_a_prompt_is_forgotten_last() -> None:
    cache = PrefixCache(blocks=3, block_size=16)
    cache.take(text("a", "b", "c"))
    cache.take(text("x"))
    assert cache.take(text("a", "b", "c")) == 32


def test_blocks_are_shared_only_under_the_same_salt() -> None:
    cache = PrefixCache(blocks=100, block_size=16)
    cache.take(text("a"), "one")
    assert cache.take(text("a"), "two") == 0
    assert cache.take(text("a"), "one") == 16


def test_token_numbers_are_cached_as_text_is() -> None:
    numbers = list(range(70_000, 70_064))
    prompt = text_prompt(numbers)
    assert len(prompt.data) == 4 * prompt.tokens
    cache = PrefixCache(blocks=100, block_size=16)
    cache.take(prompt.data)
    assert cache.take(prompt.data) == 48
    assert cache.take(text_prompt([*numbers[:40], *numbers]).data) == 32


def engine(**settings: object) -> Engine:
    return Engine(SimulatorSettings(model="m", **settings))  # type: ignore[arg-type]


async def begin(one: Engine, tokens: int = 16) -> Run:
    prompt = Prompt(b"x" * 4 * tokens, tokens)
    return await one.start([prompt], 0, first_token_s=0.1, per_token_s=0.01)


async def test_requests_run_in_order_of_arrival() -> None:
    one = engine(max_num_seqs=1)
    first = await begin(one)
    second, third = (asyncio.create_task(begin(one)) for _ in range(2))
    await asyncio.sleep(0)
    assert (one.running, one.waiting) == (1, 2)
    one.finish(first, "stop")
    await asyncio.sleep(0)
    assert second.done()
    assert not third.done()
    third.cancel()
    await asyncio.sleep(0)
    assert (one.running, one.waiting) == (1, 0)
    one.finish(await second, "stop")
    assert (one.running, one.waiting) == (0, 0)
    assert one.kv_cache_usage == 0


async def test_a_client_that_leaves_as_its_turn_comes_passes_it_on() -> None:
    one = engine(max_num_seqs=1)
    first = await begin(one)
    second, third = (asyncio.create_task(begin(one)) for _ in range(2))
    await asyncio.sleep(0)
    one.finish(first, "stop")
    second.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert third.done()
    assert (one.running, one.waiting) == (1, 0)


async def test_requests_wait_for_blocks_but_one_always_runs() -> None:
    one = engine(kv_blocks=4)
    large = await begin(one, tokens=16 * 10)
    assert one.kv_cache_usage == 1.0
    small = asyncio.create_task(begin(one))
    await asyncio.sleep(0)
    assert one.waiting == 1
    one.finish(large, "stop")
    await small
    assert one.kv_cache_usage == 0.25


async def test_a_cached_prompt_is_due_sooner() -> None:
    one = engine()
    cold = await begin(one, tokens=1600)
    warm = await begin(one, tokens=1600)
    assert cold.first_due - cold.arrived == pytest.approx(0.1, abs=0.02)
    assert warm.first_due - warm.arrived == pytest.approx(0.02, abs=0.01)
    assert warm.cached_tokens == 1584
    assert (one.metrics.prefix_queries, one.metrics.prefix_hits) == (3200, 1584)


async def test_prompts_outside_the_cache_take_time() -> None:
    one = engine(prefill_ms_per_1k_tokens=100, prefix_caching=False)
    run = await begin(one, tokens=2000)
    assert run.first_due - run.arrived == pytest.approx(0.3, abs=0.02)
    assert one.metrics.prefix_queries == 0


async def test_prompts_are_read_one_after_the_other() -> None:
    one = engine(prefill_ms_per_1k_tokens=1000, prefix_caching=False)
    first, second = await begin(one, tokens=2000), await begin(one, tokens=1000)
    assert first.first_due - first.arrived == pytest.approx(2.1, abs=0.02)
    assert second.first_due - second.arrived == pytest.approx(3.1, abs=0.02)


async def test_the_next_turn_finds_the_answer_in_the_cache() -> None:
    one = engine()
    messages: list[dict[str, str]] = [{"role": "user", "content": "x" * 400}]
    first = chat_prompt(messages)
    run = await one.start([first], 50, first_token_s=0, per_token_s=0)
    one.finish(run, "stop")
    one.remember(first, "y" * 400)
    messages += [{"role": "assistant", "content": "y" * 400}, {"role": "user", "content": "go on"}]
    run = await one.start([chat_prompt(messages)], 50, first_token_s=0, per_token_s=0)
    # 8 + 400 + 15 bytes before the answer: of its 400, all whole blocks of the sum are there.
    assert run.cached_tokens == 816 // 64 * 16


async def test_the_death_of_the_engine_reaches_all_in_it() -> None:
    one = engine(max_num_seqs=1)
    run = await begin(one)
    token = asyncio.create_task(one.wait(run.arrived + 60))
    turn = asyncio.create_task(begin(one))
    await asyncio.sleep(0)
    assert one.waiting == 1
    one.fail()
    for task in (token, turn, asyncio.create_task(begin(one)), asyncio.create_task(one.wait(0))):
        with pytest.raises(EngineDeadError):
            await asyncio.wait_for(task, 5)
    one.finish(run, "error")
    assert (one.running, one.waiting) == (0, 0)


async def test_a_stopped_engine_gives_no_token() -> None:
    one = engine()
    one.stop()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(one.wait(0), 0.05)


def test_histogram() -> None:
    histogram = Histogram((0.1, 1.0))
    histogram.observe(0.1)
    histogram.observe(0.5, times=3)
    histogram.observe(9)
    family = histogram.family("vllm:x", "", {"engine": "0"})
    buckets = [s.value for s in family.samples if s.name == "vllm:x_bucket"]
    assert buckets == [1, 4, 5]
    (total,) = [s.value for s in family.samples if s.name == "vllm:x_sum"]
    assert total == pytest.approx(10.6)


def modes(faults: Faults, count: int) -> list[str]:
    return [faults.next().mode for _ in range(count)]


def test_a_plan_ends_after_its_count() -> None:
    faults = Faults(SimulatorSettings(model="m"))
    faults.set({"mode": "hang", "count": 2})
    assert modes(faults, 4) == ["hang", "hang", "ok", "ok"]
    assert faults.state()["mode"] == "ok"
    assert faults.state()["count"] is None


def test_what_a_plan_leaves_out_is_as_at_the_start() -> None:
    faults = Faults(SimulatorSettings(model="m", first_token_ms=10, per_token_ms=1))
    faults.set({"fail_status": 503, "first_token_ms": 70})
    treatment = faults.next()
    assert (treatment.mode, treatment.plan.fail_status) == ("fail", 503)
    assert treatment.first_token_s == pytest.approx(0.07)
    faults.set({"mode": "slow"})
    treatment = faults.next()
    assert (treatment.first_token_s, treatment.per_token_s) == pytest.approx((0.1, 0.01))
    faults.set({})
    assert modes(faults, 2) == ["ok", "ok"]


def test_the_share_of_failures_follows_the_seed() -> None:
    settings = SimulatorSettings(model="m", fail_rate=0.25, seed=3)
    first = modes(Faults(settings), 1000)
    assert first == modes(Faults(settings), 1000)
    assert 200 < first.count("fail") < 300


def test_where_a_stream_is_cut() -> None:
    faults = Faults(SimulatorSettings(model="m"))
    faults.set({"mode": "cut_stream"})
    assert faults.next().cut_after(10) == 5
    faults.set({"mode": "cut_stream", "after_tokens": 99})
    assert faults.next().cut_after(10) == 10
    faults.set({"mode": "stream_error"})
    assert faults.next().cut_after(10) == 0
    faults.set({"mode": "engine_death", "after_tokens": 3})
    assert faults.next().cut_after(10) == 3
    faults.set({})
    assert faults.next().cut_after(10) is None


def test_a_plan_from_the_start() -> None:
    faults = Faults(SimulatorSettings(model="m", faults={"mode": "hang", "count": 1}))
    assert modes(faults, 3) == ["hang", "ok", "ok"]


def test_the_journal_forgets_the_oldest() -> None:
    journal = Journal(entries=3, body_bytes=10)
    for number in range(5):
        journal.open("POST", f"/{number}", (), b"x", 0.0)
    assert [entry.path for entry in journal.last(10)] == ["/2", "/3", "/4"]
    assert [entry.path for entry in journal.last(1)] == ["/4"]
    assert journal.last(0) == []
    journal.open("POST", "/large", (), b"x" * 50, 0.0)
    assert [entry.path for entry in journal.last(10)] == ["/large"]
    assert journal.total == 6
