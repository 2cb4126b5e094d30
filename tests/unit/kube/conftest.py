"""The fake API server, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from modelrouter.kube.client import KubeClient
from modelrouter.kube.connection import Connection
from unit.kube.fake import Server


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    found.url = f"http://127.0.0.1:{port}"
    yield found
    await runner.cleanup()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[KubeClient]:
    async with KubeClient(Connection(server.url), request_seconds=0.5) as client:
        yield client


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of milliseconds, so that tests need not wait."""
    monkeypatch.setattr("modelrouter.kube.watching.FIRST_BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr("modelrouter.kube.watching.LONGEST_BACKOFF_SECONDS", 0.01)
