"""An engine that dies, and a model that cannot be loaded."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import openai
import pytest

from component.simulator.questions import HELLO

STREAM = {"model": "m", "messages": HELLO, "stream": True}
DEAD = {
    "message": "EngineCore encountered an issue. See stack trace (above) for the root cause.",
    "type": "InternalServerError",
    "param": None,
    "code": 500,
}


def events(answer: httpx.Response) -> list[str]:
    return [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]


def test_a_stream_that_kills_the_engine(start):
    server = start("--shutdown-timeout", "30", SIMULATE_DEATH_SECONDS="2.5")
    server.fault(mode="engine_death")
    url = f"{server.url}/v1/chat/completions"
    with httpx.Client() as client:
        assert client.get(f"{server.url}/health").status_code == 200
        answer = client.post(url, json=STREAM)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        error, done = events(answer)
        assert json.loads(error) == {"error": DEAD}
        assert done == "[DONE]"
        assert client.get(f"{server.url}/health").status_code == 503
        assert client.get(f"{server.url}/ping").status_code == 503
        # Whoever comes now, streaming or not, is told at once.
        late = client.post(url, json=STREAM)
        assert (late.status_code, late.json()) == (500, {"error": DEAD})
        assert client.get(f"{server.url}/_simulate").json()["engine_dead"] is True
    # As vLLM's: it says that all went well.
    assert server.process.wait(timeout=10) == 0
    assert "fatal error" in server.log.read_text()


def test_a_request_without_stream_that_kills_the_engine(start):
    server = start(SIMULATE_FAULTS='{"mode": "engine_death"}', SIMULATE_DEATH_SECONDS="0")
    with pytest.raises(openai.InternalServerError) as caught:
        server.client().chat.completions.create(model="m", messages=HELLO)
    assert caught.value.body == DEAD
    assert server.process.wait(timeout=10) == 0


async def test_all_open_requests_share_the_death(start):
    server = start("--per-token", "10", "--max-num-seqs", "2")
    url = f"{server.url}/v1/chat/completions"
    endless = {**STREAM, "max_tokens": 2000, "ignore_eos": True}
    async with httpx.AsyncClient(timeout=10) as client:
        streamed = asyncio.create_task(client.post(url, json=endless))
        whole = asyncio.create_task(client.post(url, json={**endless, "stream": False}))
        await asyncio.to_thread(server.wait_for, "vllm:num_requests_running", 2)
        # The stream has begun; the other answer says of its tokens at its end only.
        await asyncio.to_thread(server.wait_for, "vllm:time_to_first_token_seconds_count", 1)
        queued = asyncio.create_task(client.post(url, json=endless))
        await asyncio.to_thread(server.wait_for, "vllm:num_requests_waiting", 1)
        server.fault(mode="engine_death")
        killer = await client.post(url, json=STREAM)
        said = [events(answer) for answer in (killer, await streamed, await queued)]
        for lines in said:
            assert json.loads(lines[-2]) == {"error": DEAD}
            assert lines[-1] == "[DONE]"
        assert [len(lines) == 2 for lines in said] == [True, False, True]
        answer = await whole
        assert (answer.status_code, answer.json()) == (500, {"error": DEAD})
        assert server.metric("vllm:num_requests_running") == 0
        assert server.metric("vllm:request_success_total", finished_reason="error") == 2


@pytest.mark.parametrize("mode", ["stream_error", "engine_death"])
def test_death_in_the_middle_of_a_stream(start, mode):
    server = start("--per-token", "0")
    server.fault(mode=mode, after_tokens=3)
    lines = events(httpx.post(f"{server.url}/v1/chat/completions", json=STREAM))
    parsed = [json.loads(line) for line in lines[:-1]]
    contents = [p["choices"][0]["delta"].get("content") for p in parsed if "choices" in p]
    assert len([content for content in contents if content]) == 3
    assert parsed[-1] == {"error": DEAD}
    healthy = httpx.get(f"{server.url}/health").status_code == 200
    assert healthy == (mode == "stream_error")


def test_deaths_by_chance_follow_the_seed(start):
    def survived(seed: str) -> int:
        server = start("--first-token", "0", "--per-token", "0", "--seed", seed,
                       SIMULATE_FAULTS='{"mode": "engine_death", "fail_rate": 0.1}')  # fmt: skip
        with httpx.Client(base_url=server.url) as client:
            for count in range(200):
                body = {"model": "m", "messages": HELLO}
                if client.post("/v1/chat/completions", json=body).status_code != 200:
                    return count
        return 200

    counts = [survived("1"), survived("1"), survived("4")]
    assert counts[0] == counts[1] != counts[2]
    assert max(counts) < 200


def test_a_model_that_cannot_be_loaded(launch):
    cause = "ValueError: No available memory for the cache blocks."
    server = launch("serve", "org/m", "--port=0", SIMULATE_LOAD_ERROR=cause,
                    SIMULATE_LOAD_SECONDS="0.1")  # fmt: skip
    assert server.process.wait(timeout=10) == 1
    lines = server.log.read_text().splitlines()
    assert lines[-2].endswith(cause)
    assert lines[-1].endswith(
        "RuntimeError: Engine core initialization failed. See root cause above. "
        "Failed core proc(s): {}"
    )
    assert "Traceback" not in server.log.read_text()


def test_a_model_is_downloaded_once(start, tmp_path):
    def begin(home: Path) -> str:
        server = start(HF_HOME=str(home), SIMULATE_DOWNLOAD_SECONDS="0.1")
        server.stop()
        return str(server.log.read_text())

    assert "downloading m for 0.1 s" in begin(tmp_path / "cache")
    assert "downloading" not in begin(tmp_path / "cache")
    assert "downloading" in begin(tmp_path / "other")


def test_a_cache_that_cannot_be_written(launch, tmp_path):
    home = tmp_path / "file"
    home.touch()
    server = launch("--model=m", "--port=0", HF_HOME=str(home), SIMULATE_DOWNLOAD_SECONDS="0.1")
    assert server.process.wait(timeout=10) == 1
    assert "NotADirectoryError" in server.log.read_text()
