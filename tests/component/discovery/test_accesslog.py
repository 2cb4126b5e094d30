"""Access log records of a real Envoy."""

from __future__ import annotations

import asyncio

import pytest

from modelrouter.router.accesslog import RequestRecord, accesslog_handler


@pytest.mark.asyncio
async def test_each_request_becomes_a_record(stage, build):
    await stage.backend("a")
    records: list[RequestRecord] = []
    await stage.start_agent(accesslog_handler([records.append]))
    stage.store.update(build.pools("a"), "1")
    await stage.start_envoy()
    assert await stage.store.acknowledged("1", 10)
    assert await stage.get() == (200, "a")
    async with asyncio.timeout(5):
        while not records:
            await asyncio.sleep(0.01)
    (record,) = records
    assert record.pool == "a"
    assert (record.status, record.attempts) == (200, 1)
    assert (record.prompt_tokens, record.completion_tokens) == (None, 7)
    assert len(record.request_id) == 36
    assert 0 < record.first_byte_ms <= record.duration_ms < 1000


@pytest.mark.asyncio
async def test_records_come_again_after_the_agent_restarts(stage, build):
    await stage.backend("a")
    records: list[RequestRecord] = []
    handler = accesslog_handler([records.append])
    await stage.start_agent(handler)
    stage.store.update(build.pools("a"), "1")
    await stage.start_envoy()
    assert await stage.store.acknowledged("1", 10)
    await stage.stop_agent()
    assert await stage.get() == (200, "a")
    await stage.start_agent(handler)
    async with asyncio.timeout(5):
        while not records:
            await stage.get()
            await asyncio.sleep(0.05)
