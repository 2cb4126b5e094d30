"""Loading, queueing, caching and stopping."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import openai
import pytest

from component.simulator.questions import HELLO

REFUSED_WHILE_DRAINING: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": HELLO, "stream": True},
    "/v1/completions": {"prompt": "hello"},
    "/v1/embeddings": {"input": "hello"},
    "/tokenize": {"prompt": "hello"},
}
DRAINING = {
    "message": "cannot schedule new futures after shutdown",
    "type": "InternalServerError",
    "param": None,
    "code": 500,
}
TIMEOUTS = (openai.APITimeoutError, httpx.ReadTimeout)


@asynccontextmanager
async def open_stream(server: Any, tokens: int = 20) -> AsyncIterator[Any]:
    """A stream that has begun."""
    async with server.async_client(timeout=1.0) as client:
        stream = await client.chat.completions.create(
            model="m",
            messages=HELLO,
            stream=True,
            max_tokens=tokens,
            extra_body={"ignore_eos": True},
        )
        async with stream:
            await stream.__anext__()
            yield stream


async def read_until_broken(stream: Any) -> tuple[int, Exception | None]:
    """How many chunks a stream gave, and the error that ended it."""
    received = 0
    try:
        async for _ in stream:
            received += 1
    except (httpx.HTTPError, openai.APIError) as error:
        return received, error
    return received, None


def test_the_port_is_closed_until_loaded(start, launch, unused_port):
    server = launch("--model", "m", f"--port={unused_port}", "--load-time", "1.2")
    started = time.monotonic()
    refused = 0
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{unused_port}/health").raise_for_status()
            break
        except httpx.ConnectError:
            refused += 1
            assert time.monotonic() - started < 10
            time.sleep(0.05)
    assert refused
    assert time.monotonic() - started > 1.1
    server.stop()


def test_sigterm_while_loading(launch):
    server = launch("--model", "m", "--port", "0", "--load-time", "60")
    deadline = time.monotonic() + 10
    while "loading" not in server.log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=3) == 0


def test_sigterm_without_requests(start):
    server = start("--shutdown-timeout", "30")
    # An idle connection must not keep the process.
    with httpx.Client(base_url=server.url) as client:
        client.get("/health")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=3) == 0


async def test_sigterm_leaves_streams_hanging(start):
    server = start("--per-token", "20")
    async with open_stream(server, tokens=100) as stream:
        server.process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        received, error = await read_until_broken(stream)
        assert received < 50
        assert isinstance(error, TIMEOUTS)
        assert time.monotonic() - started > 0.9
        assert server.process.poll() is None
    # The client's own timeout ended it; with the last client gone the process ends.
    assert await asyncio.to_thread(server.process.wait, 3) == 0


async def test_new_connections_are_refused_while_streams_hang(start):
    server = start()
    async with open_stream(server, tokens=500) as stream:
        server.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port)
        server.process.send_signal(signal.SIGTERM)  # The second ends it at once.
        assert await asyncio.to_thread(server.process.wait, 3) == 0
        _, error = await read_until_broken(stream)
        assert error is not None


async def test_sigterm_with_timeout_drains(start):
    server = start("--per-token", "20", "--shutdown-timeout", "10")
    async with open_stream(server, tokens=50) as stream:
        server.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.1)
        # To a probe all is well, and yet nothing new is taken.
        async with httpx.AsyncClient(base_url=server.url, verify=False) as http:
            assert (await http.get("/health")).status_code == 200
            for path, body in REFUSED_WHILE_DRAINING.items():
                late = await http.post(path, json=body)
                assert (late.status_code, late.json()["error"]) == (500, DRAINING), path
        chunks = [chunk async for chunk in stream]
    assert len([chunk for chunk in chunks if chunk.choices[0].delta.content]) == 50
    assert chunks[-1].choices[0].finish_reason == "length"
    assert await asyncio.to_thread(server.process.wait, 3) == 0


async def test_drain_ends_at_its_timeout(start):
    server = start("--per-token", "20", "--shutdown-timeout", "0.5")
    async with open_stream(server, tokens=500) as stream:
        server.process.send_signal(signal.SIGTERM)
        received, error = await read_until_broken(stream)
    assert isinstance(error, TIMEOUTS)
    assert 10 < received < 100
    assert await asyncio.to_thread(server.process.wait, 3) == 0


async def test_requests_over_the_limit_wait(start):
    server = start("--max-num-seqs", "2", "--first-token", "600", "--per-token", "0")
    started = time.monotonic()
    async with server.async_client() as client:
        calls = [
            asyncio.create_task(client.chat.completions.create(model="m", messages=HELLO))
            for _ in range(4)
        ]
        await asyncio.sleep(0.3)
        assert server.metric("vllm:num_requests_running") == 2
        assert server.metric("vllm:num_requests_waiting") == 2
        assert server.metric("vllm:num_requests_waiting_by_reason", reason="capacity") == 2
        assert server.metric("vllm:kv_cache_usage_perc") > 0
        await asyncio.gather(*calls)
    # The prompt is shorter than a block, so that the cache makes none of them quicker.
    assert time.monotonic() - started > 1.2
    assert server.metric("vllm:num_requests_running") == 0
    assert server.metric("vllm:kv_cache_usage_perc") == 0
    assert server.metric("vllm:request_queue_time_seconds_sum") > 1.0


def test_a_known_prefix_is_answered_sooner(start):
    server = start("--first-token", "800", "--per-token", "0", "--enable-prompt-tokens-details")
    client = server.client()
    system = {"role": "system", "content": "rule. " * 2000}

    def ask(question: str) -> tuple[float, int]:
        started = time.monotonic()
        answer = client.chat.completions.create(
            model="m", messages=[system, {"role": "user", "content": question}]
        )
        return time.monotonic() - started, answer.usage.prompt_tokens_details.cached_tokens

    cold, none_cached = ask("first question")
    warm, cached = ask("second question")
    assert none_cached == 0
    assert cached > 2900
    assert cold > 0.8
    assert warm < 0.6
    hits = server.metric("vllm:prefix_cache_hits_total")
    assert hits == cached
    assert server.metric("vllm:prefix_cache_queries_total") > 2 * cached


def test_metrics_have_vllms_names(simulator):
    simulator.client().chat.completions.create(model="m", messages=HELLO)
    text = httpx.get(f"{simulator.url}/metrics").text
    for name in (
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "vllm:kv_cache_usage_perc",
        "vllm:prefix_cache_queries_total",
        "vllm:prefix_cache_hits_total",
        "vllm:prompt_tokens_total",
        "vllm:generation_tokens_total",
        "vllm:time_to_first_token_seconds_count",
        "vllm:inter_token_latency_seconds_count",
        "vllm:e2e_request_latency_seconds_count",
        "vllm:request_queue_time_seconds_count",
    ):
        assert f'\n{name}{{engine="0",model_name="m"}} ' in text, name
    assert 'vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="m"}' in text
    assert 'vllm:engine_sleep_state{engine="0",model_name="m",sleep_state="awake"} 1.0' in text
    labels = 'engine="0",{}model_name="m"{}'
    for reason in ("stop", "length", "abort", "error"):
        own = labels.format(f'finished_reason="{reason}",', "")
        assert f"\nvllm:request_success_total{{{own}}} " in text
    for reason in ("capacity", "deferred"):
        own = labels.format("", f',reason="{reason}"')
        assert f"\nvllm:num_requests_waiting_by_reason{{{own}}} " in text


def test_metrics_count(start):
    server = start("--first-token", "20", "--per-token", "5")
    client = server.client()
    usage = client.chat.completions.create(model="m", messages=HELLO).usage
    list(client.chat.completions.create(model="m", messages=HELLO, stream=True, max_tokens=6))
    assert server.metric("vllm:prompt_tokens_total") == 2 * usage.prompt_tokens
    assert server.metric("vllm:generation_tokens_total") == 30
    assert server.metric("vllm:request_success_total", finished_reason="stop") == 1
    assert server.metric("vllm:request_success_total", finished_reason="length") == 1
    assert server.metric("vllm:time_to_first_token_seconds_count") == 2
    assert server.metric("vllm:inter_token_latency_seconds_count") == 28
    mean = server.metric("vllm:inter_token_latency_seconds_sum") / 28
    assert mean == pytest.approx(0.005, abs=0.003)


def test_vllms_command_line(launch, unused_port):
    server = launch(
        "serve", "org/model", "--host=127.0.0.1", f"--port={unused_port}", "--served_model_name",
        "a", "b", "--tensor-parallel-size", "4", "--gpu-memory-utilization=0.9",
        "--enable-chunked-prefill", "--max-model-len=4k",
    ).wait_until_ready()  # fmt: skip
    models = server.client().models.list().data
    assert [model.id for model in models] == ["a", "b"]
    assert models[0].root == "org/model"  # type: ignore[attr-defined]
    assert models[0].max_model_len == 4000  # type: ignore[attr-defined]
    assert "--tensor-parallel-size 4" in server.log.read_text()
    server.stop()


def test_a_taken_port_is_an_error(simulator, launch):
    second = launch("--model", "m", "--port", str(simulator.port))
    assert second.process.wait(timeout=10) == 1
    assert "cannot listen" in second.log.read_text()


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
