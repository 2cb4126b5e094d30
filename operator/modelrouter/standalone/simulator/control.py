"""`/_simulate`: faults on command, and a look at what the server received."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from modelrouter.standalone.simulator.errors import ApiError, error_response
from modelrouter.standalone.simulator.server import Server, json_object, json_response


def add_control(app: web.Application, server: Server) -> None:
    """Serve the control paths. They need no key, fail on no fault and are in no journal."""

    async def show(request: web.Request) -> web.Response:
        return json_response(_state(server))

    async def change(request: web.Request) -> web.Response:
        given = json_object(await request.read() or b"{}")
        try:
            server.faults.set(given)
        except ValueError as error:
            raise ApiError(400, str(error)) from error
        return json_response(_state(server))

    async def requests(request: web.Request) -> web.Response:
        try:
            last = int(request.query.get("last", "1000"))
        except ValueError:
            raise ApiError(400, "last must be a number") from None
        entries = server.journal.last(last)
        return json_response(
            {"total": server.journal.total, "requests": [entry.as_json() for entry in entries]}
        )

    async def forget(request: web.Request) -> web.Response:
        server.journal.clear()
        return json_response({"total": 0, "requests": []})

    app.router.add_get("/_simulate", _guarded(show))
    app.router.add_post("/_simulate", _guarded(change))
    app.router.add_get("/_simulate/requests", _guarded(requests))
    app.router.add_delete("/_simulate/requests", _guarded(forget))


def _state(server: Server) -> dict[str, object]:
    return {
        **server.faults.state(),
        "name": server.settings.label,
        "model": server.settings.served_names[0],
        "engine_dead": server.engine.death.is_set(),
        "open_requests": server.open_requests,
        "running": server.engine.running,
        "waiting": server.engine.waiting,
    }


def _guarded(
    handler: Callable[[web.Request], Awaitable[web.Response]],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except ApiError as error:
            return error_response(error)

    return handle
