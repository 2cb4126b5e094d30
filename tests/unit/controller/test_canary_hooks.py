"""Hooks of a canary. The servers here are real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from modelrouter.controller.canary_hooks import TELL_ATTEMPTS, HookCalls

Answer = Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]
BODY = {"namespace": "ns", "route": "chat", "step": 2}


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def calls() -> AsyncIterator[HookCalls]:
    async def no_pause(seconds: float) -> None:
        await asyncio.sleep(0)

    async with aiohttp.ClientSession() as session:
        yield HookCalls(session, no_pause)


async def test_2xx_is_a_yes_and_all_else_a_no_with_the_reason(calls: HookCalls) -> None:
    asked: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(await request.json())
        return web.Response(status=int(request.path[1:]), text="secret")

    async with server(answer) as url:
        assert await calls.ask(f"{url}/204", 10, BODY) == ""
        assert asked == [BODY]
        assert await calls.ask(f"{url}/503", 10, BODY) == "answered 503"


async def test_a_redirect_leads_nowhere(calls: HookCalls) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        raise web.HTTPTemporaryRedirect("/elsewhere")

    async with server(answer) as url:
        assert "redirects are not followed" in await calls.ask(f"{url}/hook", 10, BODY)
    assert asked == ["/hook"]


async def test_a_hook_that_does_not_answer_is_given_up(calls: HookCalls) -> None:
    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    async with server(answer) as url:
        assert await calls.ask(url, 0.2, BODY) == "did not answer within 0.2 s"


async def test_an_answer_without_an_end_is_not_read(calls: HookCalls) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    async with server(answer) as url:
        assert await calls.ask(url, 30, BODY) == ""


async def test_what_goes_wrong_is_told_without_the_url(calls: HookCalls) -> None:
    found = await calls.ask("http://127.0.0.1:1/?token=secret", 10, BODY)
    assert found.startswith("cannot be asked")
    assert "secret" not in found


async def test_a_transition_is_told_a_few_times(calls: HookCalls) -> None:
    statuses = [500, 500, 200]

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=statuses.pop(0))

    async with server(answer) as url:
        assert await calls.tell("h", url, 10, BODY)
        statuses[:] = [500] * (TELL_ATTEMPTS + 1)
        assert not await calls.tell("h", url, 10, BODY)
        assert len(statuses) == 1
