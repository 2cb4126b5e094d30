"""The state of one simulated server, and what every request passes through."""

from __future__ import annotations

import asyncio
import json
import os
import time
import traceback
from collections.abc import Awaitable, Callable
from hmac import compare_digest
from typing import Any

import orjson
from aiohttp import web

from modelrouter.standalone.simulator.engine import Engine
from modelrouter.standalone.simulator.errors import (
    ApiError,
    RouteError,
    error_response,
    unauthorized,
)
from modelrouter.standalone.simulator.faults import Faults
from modelrouter.standalone.simulator.journal import Entry, Journal
from modelrouter.standalone.simulator.models import Models
from modelrouter.standalone.simulator.settings import SimulatorSettings
from modelrouter.standalone.simulator.validation import Fault, invalid

Endpoint = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]
"""Answers a request whose body has been read."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
"""Answers a request, as aiohttp calls it."""


class Server:
    """One simulated server. Everything that changes while it runs hangs here."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self.settings = settings
        self.engine = Engine(settings)
        self.faults = Faults(settings)
        self.journal = Journal()
        self.models = Models(settings, created=int(time.time()))
        self.adapter_lock = asyncio.Lock()
        """Held while an adapter is loaded; vLLM's engine, too, loads one at a time."""
        self.open_requests = 0
        """Requests received and not yet answered in full."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._keys = tuple(key.encode() for key in settings.api_keys)

    async def idle(self) -> None:
        """Return as soon as no request is open."""
        await self._idle.wait()

    def endpoint(self, method: str | None, answer: Endpoint) -> Handler:
        """The handler for a path: checks method (none: any) and key, keeps the journal."""
        needs_key = bool(self._keys)

        async def handle(request: web.Request) -> web.StreamResponse:
            started = time.time()
            self.open_requests += 1
            self._idle.clear()
            entry: Entry | None = None
            try:
                body = await request.read()
                entry = self.journal.open(
                    request.method, request.raw_path, request.raw_headers, body, started
                )
                response = await self._answer(request, body, method, answer, needs_key)
                # A connection that a fault has torn down carried no answer.
                transport = request.transport
                if response.prepared or (transport is not None and not transport.is_closing()):
                    entry.status = response.status
                return response
            except (asyncio.CancelledError, ConnectionError):
                if entry is not None:
                    entry.client_gone = True
                raise
            finally:
                if entry is not None:
                    entry.ended = time.time()
                self.open_requests -= 1
                if self.open_requests == 0:
                    self._idle.set()

        return handle

    async def _answer(
        self,
        request: web.Request,
        body: bytes,
        method: str | None,
        answer: Endpoint,
        needs_key: bool,
    ) -> web.StreamResponse:
        try:
            if needs_key and request.path.startswith("/v1") and not self._has_key(request):
                return unauthorized()
            if method is not None and request.method != method:
                raise RouteError(405, allow=method)
            response = await answer(request, body)
        except ApiError as error:
            response = error_response(error)
        except ConnectionError:
            raise
        except Exception as error:
            # vLLM, too, answers a request it did not foresee with an error of this shape.
            traceback.print_exc()
            response = error_response(ApiError(500, f"{type(error).__name__}: {error}"))
        if self.settings.request_id_headers and not response.prepared:
            given = request.headers.get("X-Request-Id")
            response.headers["X-Request-Id"] = given or os.urandom(16).hex()
        return response

    def _has_key(self, request: web.Request) -> bool:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        given = token.encode("utf-8", "surrogateescape")
        return scheme.lower() == "bearer" and any(compare_digest(given, key) for key in self._keys)


def json_object(body: bytes) -> dict[str, Any]:
    """The request's JSON object; the last of duplicate keys counts."""
    if not body:
        raise invalid(Fault("missing", "body", "Field required", None))
    try:
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError:
            # vLLM reads with the standard library, which also takes NaN and lone surrogates.
            value = json.loads(body)
    except json.JSONDecodeError as error:
        place, context = f"body.{error.pos}", {"error": error.msg}
        raise invalid(Fault("json_invalid", place, "JSON decode error", {}, context)) from None
    except (ValueError, RecursionError):
        text = "There was an error parsing the body"
        raise ApiError(400, text, error_type="Bad Request") from None
    if not isinstance(value, dict):
        text = "Input should be a valid dictionary or object to extract fields from"
        raise invalid(Fault("model_attributes_type", "body", text, value))
    return value


def json_request(request: web.Request, body: bytes) -> dict[str, Any]:
    """The JSON object of a request that says it is JSON, as vLLM insists."""
    content_type = request.headers.get("Content-Type", "").lower()
    if content_type.partition(";")[0].strip() != "application/json":
        raise ApiError(
            400,
            "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed",
            error_type="Bad Request",
        )
    return json_object(body)


def json_response(value: object) -> web.Response:
    """A 200 answer in JSON."""
    return web.Response(body=orjson.dumps(value), content_type="application/json")
