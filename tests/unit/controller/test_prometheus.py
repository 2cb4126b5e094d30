"""Asking Prometheus. The servers here are real HTTP servers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from modelrouter.controller import prometheus
from modelrouter.controller.prometheus import Prometheus, PrometheusError, Sample

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/prefix/api/v1/query", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/prefix/"
    await runner.cleanup()


async def asked(answer: Any, status: int = 200, text: str | None = None) -> list[Sample]:
    """What becomes of an answer."""
    queries: list[str] = []

    async def give(request: web.Request) -> web.Response:
        queries.append(str((await request.post())["query"]))
        if text is not None:
            return web.Response(text=text, status=status)
        return web.json_response(answer, status=status)

    async with server(give) as url, aiohttp.ClientSession() as session:
        try:
            return await Prometheus(session).query(url, "up + 1")
        finally:
            assert queries == ["up + 1"]


def vector(*values: str) -> dict[str, Any]:
    result = [{"metric": {"n": str(i)}, "value": [1.5, v]} for i, v in enumerate(values)]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


async def test_vectors_and_scalars_are_read() -> None:
    assert await asked(vector("1.5", "+Inf")) == [
        Sample({"n": "0"}, 1.5),
        Sample({"n": "1"}, math.inf),
    ]
    assert await asked(vector()) == []
    scalar = {"status": "success", "data": {"resultType": "scalar", "result": [1.5, "3"]}}
    assert await asked(scalar) == [Sample({}, 3.0)]


async def test_a_refused_query_has_the_reason_of_prometheus() -> None:
    error = {"status": "error", "errorType": "bad_data", "error": "parse error:\n at char 5"}
    with pytest.raises(PrometheusError, match="refuses the query: parse error: at char 5"):
        await asked(error, 400)


@pytest.mark.parametrize(
    ("status", "text"), [(200, "hello"), (200, "[]"), (404, "{}"), (302, ""), (502, "bad gateway")]
)
async def test_what_is_no_prometheus_is_told_so(status: int, text: str) -> None:
    with pytest.raises(PrometheusError, match=f"answered {status} and not as Prometheus does"):
        await asked(None, status, text)


async def test_a_matrix_cannot_be_compared_with_a_bound() -> None:
    matrix = {"status": "success", "data": {"resultType": "matrix", "result": []}}
    with pytest.raises(PrometheusError, match="gives a matrix"):
        await asked(matrix)


async def test_a_server_that_is_away_is_named_without_its_password() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(PrometheusError) as caught:
            await Prometheus(session).query("http://me:secret@127.0.0.1:1/?token=secret", "up")
    assert "http://127.0.0.1:1/ cannot be asked" in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_a_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "ANSWER_SECONDS", 0.2)

    async def give(request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    async with server(give) as url, aiohttp.ClientSession() as session:
        with pytest.raises(PrometheusError, match="did not answer within"):
            await Prometheus(session).query(url, "up")


async def test_an_answer_without_an_end_is_given_up() -> None:
    async def give(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 65536)

    async with server(give) as url, aiohttp.ClientSession() as session:
        with pytest.raises(PrometheusError, match="not as Prometheus does"):
            await Prometheus(session).query(url, "up")
