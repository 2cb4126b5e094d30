"""The agent's own HTTP server: probes, metrics and what a person asks when something is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, Protocol

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from modelrouter.router.pool_counts import PoolCounts

LONGEST_POLL_SECONDS = 60.0


class Reported(Protocol):
    """What the server needs to know of the agent."""

    @property
    def acknowledged(self) -> str:
        """Version of the configuration in force, empty before the first."""

    def readiness(self) -> tuple[bool, Mapping[str, Any]]:
        """Whether traffic may come, and the detail for people."""

    def view(self) -> Mapping[str, Any]:
        """Routes and pools with their figures."""

    async def changed(self, after: str) -> str:
        """Wait until a version other than `after` is in force, and return it."""

    @property
    def counts(self) -> PoolCounts:
        """Endpoints of the pools."""


def make_app(
    agent: Reported, registry: CollectorRegistry, more: Iterable[web.RouteDef] = ()
) -> web.Application:
    """The routes of the admin server, and those that others bring."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        ready, detail = agent.readiness()
        return _json({"ready": ready, **detail}, status=200 if ready else 503)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST}
        )

    def state() -> Mapping[str, Any]:
        return {
            "version": agent.acknowledged,
            "pools": agent.counts.counts,
            "poolsDigest": agent.counts.digest,
        }

    async def configz(request: web.Request) -> web.Response:
        if "after" not in request.query:
            return _json(state())
        try:
            seconds = float(request.query.get("timeout", "30"))
        except ValueError:
            return _json({"error": "timeout: write a number of seconds"}, status=400)
        try:
            async with asyncio.timeout(min(max(seconds, 0.0), LONGEST_POLL_SECONDS)):
                await _first(
                    agent.changed(request.query["after"]),
                    *(agent.counts.changed(known) for known in request.query.getall("pools", [])),
                )
        except TimeoutError:
            pass
        return _json(state())

    async def routez(_: web.Request) -> web.Response:
        return _json(agent.view())

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/configz", configz)
    app.router.add_get("/routez", routez)
    app.router.add_routes(more)
    return app


async def _first(*waits: Coroutine[Any, Any, object]) -> None:
    """Wait for one of several."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def _json(value: Mapping[str, Any], status: int = 200) -> web.Response:
    body = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return web.Response(body=body, status=status, content_type="application/json")
