"""Faults that are switched on while the server runs, and what the server saw."""

from __future__ import annotations

import asyncio
import base64
import socket
import time
from typing import Any

import httpx
import openai
import pytest

from component.simulator.questions import HELLO


def chat(simulator: Any, **more: Any) -> Any:
    return simulator.client(timeout=1.0).chat.completions.create(model="m", messages=HELLO, **more)


def read_until_broken(stream: Any) -> tuple[list[str], Exception | None]:
    """The texts of a stream, and the error that ended it."""
    texts: list[str] = []
    try:
        for chunk in stream:
            if text := chunk.choices[0].delta.content:
                texts.append(text)
    except (httpx.HTTPError, openai.APIError) as error:
        return texts, error
    return texts, None


def raw_answer(simulator: Any) -> tuple[bytes, BaseException | None]:
    """All bytes of an answer, and the error that ended the connection."""
    body = b'{"model":"m","messages":[{"role":"user","content":"hello"}]}'
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    received = b""
    with socket.create_connection(("127.0.0.1", simulator.port), timeout=5) as connection:
        connection.sendall(head.encode() + body)
        try:
            while data := connection.recv(65536):
                received += data
        except OSError as error:
            return received, error
    return received, None


def test_status_and_retry_after(simulator):
    simulator.fault(fail_status=429, retry_after=1.5)
    with pytest.raises(openai.RateLimitError) as caught:
        chat(simulator)
    assert caught.value.response.headers["retry-after"] == "2"
    simulator.fault(fail_status=503)
    with pytest.raises(openai.InternalServerError) as caught_503:
        chat(simulator, stream=True)
    assert caught_503.value.status_code == 503
    assert "retry-after" not in caught_503.value.response.headers
    simulator.fault()
    assert chat(simulator).choices


def test_count_then_well_again(simulator):
    simulator.fault(fail_status=500, count=2)
    for _ in range(2):
        with pytest.raises(openai.InternalServerError):
            chat(simulator)
    assert chat(simulator).choices
    assert httpx.get(f"{simulator.url}/_simulate").json()["fail_rate"] == 0


def test_failures_follow_the_seed(start):
    def sequence(seed: str) -> list[int]:
        server = start("--fail-rate", "0.5", "--fail-status", "502", "--seed", seed,
                       "--first-token", "0", "--per-token", "0")  # fmt: skip
        body = {"model": "m", "messages": HELLO}
        with httpx.Client(base_url=server.url) as client:
            return [client.post("/v1/chat/completions", json=body).status_code for _ in range(40)]

    first, second, other = sequence("1"), sequence("1"), sequence("2")
    assert first == second != other
    assert set(first) == {200, 502}


def test_hang(simulator):
    simulator.fault(mode="hang")
    with pytest.raises(openai.APITimeoutError):
        chat(simulator)
    deadline = time.monotonic() + 5
    while not simulator.requests()[0]["client_gone"] and time.monotonic() < deadline:
        time.sleep(0.05)
    (seen,) = simulator.requests()
    assert seen["client_gone"] is True
    assert seen["status"] is None


def test_reset(simulator):
    simulator.fault(mode="reset")
    received, error = raw_answer(simulator)
    assert received == b""
    assert isinstance(error, ConnectionResetError)


def test_reset_mid_headers(simulator):
    simulator.fault(mode="reset_mid_headers")
    received, error = raw_answer(simulator)
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\n\r\n" not in received
    assert isinstance(error, ConnectionResetError)


def test_stream_error(simulator):
    simulator.fault(mode="stream_error")
    body = {"model": "m", "messages": HELLO, "stream": True}
    answer = httpx.post(f"{simulator.url}/v1/chat/completions", json=body)
    assert answer.status_code == 200
    assert answer.text.startswith('data: {"error":{"message":')
    assert '"type":"InternalServerError"' in answer.text
    assert '"code":500' in answer.text
    assert answer.text.endswith("\n\ndata: [DONE]\n\n")
    with pytest.raises(openai.APIError):
        list(chat(simulator, stream=True))
    with pytest.raises(openai.InternalServerError):
        chat(simulator)


def test_cut_stream(simulator):
    simulator.fault(mode="cut_stream", after_tokens=3)
    texts, error = read_until_broken(chat(simulator, stream=True))
    assert len(texts) == 3
    assert isinstance(error, httpx.RemoteProtocolError | openai.APIConnectionError)
    simulator.fault(mode="cut_stream")
    received, error = raw_answer(simulator)
    assert error is None
    head, _, body = received.partition(b"\r\n\r\n")
    assert 0 < len(body) < int(head.lower().partition(b"content-length: ")[2].split()[0])


def test_stall_stream(simulator):
    simulator.fault(mode="stall_stream", after_tokens=2)
    texts, error = read_until_broken(chat(simulator, stream=True))
    assert len(texts) == 2
    assert isinstance(error, openai.APITimeoutError | httpx.ReadTimeout)


def test_latency(simulator):
    simulator.fault(first_token_ms=150, per_token_ms=20)
    started = time.monotonic()
    arrivals = [
        time.monotonic() - started
        for chunk in chat(simulator, stream=True)
        if chunk.choices[0].delta.content
    ]
    assert len(arrivals) == 24
    assert arrivals[0] > 0.14
    assert arrivals[-1] > 0.15 + 23 * 0.02 - 0.01
    # The first arrives long before the last is due: nothing is held back and sent in one.
    assert arrivals[-1] - arrivals[0] > 0.25


def test_health_status(simulator):
    simulator.fault(health_status=503)
    assert httpx.get(f"{simulator.url}/health").status_code == 503
    assert chat(simulator).choices


@pytest.mark.parametrize(
    "plan", [{"mode": "odd"}, {"fail_rat": 1}, {"fail_status": "x"}, {"fail_status": 99}]
)
def test_wrong_plan_is_refused(simulator, plan):
    answer = httpx.post(f"{simulator.url}/_simulate", json=plan)
    assert answer.status_code == 400
    assert next(iter(plan)) in answer.json()["error"]["message"]


def test_requests_are_kept_exactly(simulator):
    body = b'{ "model":"m","model" : "m", "messages":[{"role":"user","content":"\\u00e9"}],"n":1e0}'
    headers = {"content-type": "application/json", "Authorization": "Bearer k", "X-ODD-Case": "é"}
    with httpx.Client() as client:
        request = client.build_request(
            "POST", f"{simulator.url}/v1/chat/completions?a=1&a=2", content=body
        )
        request.headers = httpx.Headers(
            [(k.encode(), v.encode("latin-1")) for k, v in headers.items()]
            + [(b"host", b"x"), (b"content-length", str(len(body)).encode())]
        )
        client.send(request)
    (seen,) = simulator.requests(last=1)
    assert base64.b64decode(seen["body"]) == body
    assert seen["path"] == "/v1/chat/completions?a=1&a=2"
    assert ["Authorization", "Bearer k"] in seen["headers"]
    assert ["X-ODD-Case", "é"] in seen["headers"]
    assert abs(seen["started"] - time.time()) < 5
    assert seen["client_gone"] is False
    assert seen["status"] == 200


async def test_a_client_that_leaves_frees_its_place(simulator):
    simulator.fault(per_token_ms=50)
    aborted = simulator.metric("vllm:request_success_total", finished_reason="abort")
    async with simulator.async_client() as client:
        stream = await client.chat.completions.create(
            model="m", messages=HELLO, stream=True, max_tokens=1000, extra_body={"ignore_eos": True}
        )
        async with stream:
            await stream.__anext__()
            assert simulator.metric("vllm:num_requests_running") == 1
    await asyncio.to_thread(simulator.wait_for, "vllm:num_requests_running", 0)
    now = simulator.metric("vllm:request_success_total", finished_reason="abort")
    assert now == aborted + 1
    (seen,) = simulator.requests()
    assert seen["client_gone"] is True


def test_no_control(start):
    server = start("--no-control")
    assert httpx.get(f"{server.url}/_simulate").status_code == 404
    assert httpx.post(f"{server.url}/_simulate", json={"mode": "hang"}).status_code == 404
    assert httpx.get(f"{server.url}/_simulate/requests").status_code == 404
