"""A server that speaks as much Kubernetes as a test tells it to, and misbehaves on demand.

Only for what a real API server cannot be made to do: expire a watch, throttle, hang up, go silent.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def thing(name: str, version: int, **data: str) -> dict[str, Any]:
    """A ConfigMap."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "chat", "resourceVersion": str(version)},
        "data": data,
    }


def listing(*things: dict[str, Any], version: int, following: str = "") -> Answer:
    """The answer to a list."""

    async def answer(request: web.Request) -> web.StreamResponse:
        metadata = {"resourceVersion": str(version), "continue": following}
        items = [{k: v for k, v in each.items() if k in ("metadata", "data")} for each in things]
        return web.json_response({"kind": "ConfigMapList", "metadata": metadata, "items": items})

    return answer


def event(kind: str, found: dict[str, Any]) -> bytes:
    """A line of a watch."""
    return json.dumps({"type": kind, "object": found}).encode() + b"\n"


def watch(*pieces: bytes, then: str = "end") -> Answer:
    """The answer to a watch: pieces as they go over the wire, then end, hang up or silence."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "application/json"})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
            await asyncio.sleep(0)
        if then == "hang up":
            assert request.transport is not None
            request.transport.abort()
        elif then == "silence":
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
        return response

    return answer


def refusal(status: int, reason: str, message: str = "no", **headers: str) -> Answer:
    """An error as the API server gives it."""

    async def answer(request: web.Request) -> web.StreamResponse:
        body = {"kind": "Status", "code": status, "reason": reason, "message": message}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.json_response(body, status=status, headers=named)

    return answer


class Server:
    """Answers each request by the next of its answers; the last one for ever."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[Answer] = []
        self.requests: list[web.Request] = []
        self.times: list[float] = []

    def say(self, *answers: Answer) -> None:
        self.answers = list(answers)

    @property
    def watched_from(self) -> list[str]:
        """The versions that watches began at."""
        return [r.query["resourceVersion"] for r in self.requests if "watch" in r.query]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.times.append(asyncio.get_running_loop().time())
        chosen = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await chosen(request)
