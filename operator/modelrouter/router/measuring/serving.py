"""`/measurementz`: the figures of a route's canary, by arm and window."""

from __future__ import annotations

from collections.abc import Iterable

import orjson
from aiohttp import web

from modelrouter.router.measuring.measurements import Measurements
from modelrouter.router.measuring.timeline import LONGEST_SECONDS

MOST_WINDOWS = 32


def measurement_routes(measurements: Measurements) -> Iterable[web.RouteDef]:
    """What the admin server answers about canaries."""

    async def measurementz(request: web.Request) -> web.Response:
        route = request.query.get("route", "")
        asked = request.query.getall("seconds", [])
        if not route:
            return _json({"error": "route: write the name of a ModelRoute"}, 400)
        windows = [int(text) for text in asked if text.isascii() and text.isdigit()]
        right = len(windows) == len(asked) <= MOST_WINDOWS
        if not right or any(not 0 < window <= LONGEST_SECONDS for window in windows):
            longest = f"whole numbers from 1 to {LONGEST_SECONDS}, {MOST_WINDOWS} of them at most"
            return _json({"error": f"seconds: write {longest}"}, 400)
        return _json(await measurements.document(route, windows))

    return [web.get("/measurementz", measurementz)]


def _json(value: object, status: int = 200) -> web.Response:
    body = orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
    return web.Response(body=body, status=status, content_type="application/json")
