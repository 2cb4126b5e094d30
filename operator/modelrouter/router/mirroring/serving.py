"""`GET /mirrorz?route=R` on the agent's admin port: JSON, or text for people."""

from __future__ import annotations

from collections.abc import Iterable

import orjson
from aiohttp import web

from modelrouter.router.mirroring.mirrors import Mirrors
from modelrouter.router.mirroring.report import text


def mirror_routes(mirrors: Mirrors) -> Iterable[web.RouteDef]:
    """For the admin server."""

    async def mirrorz(request: web.Request) -> web.Response:
        """Without `route`: the routes that have a mirror. `format=text`: for people."""
        name = request.query.get("route")
        if name is None:
            return _json({"routes": mirrors.routes})
        report = mirrors.report(name)
        if report is None:
            known = ", ".join(mirrors.routes) or "none"
            message = f"route {name} has no mirror here; routes that have one: {known}"
            return _json({"error": message}, status=404)
        if request.query.get("format") == "text":
            return web.Response(text=text(report))
        return _json(report)

    return (web.get("/mirrorz", mirrorz),)


def _json(value: object, status: int = 200) -> web.Response:
    body = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return web.Response(body=body, status=status, content_type="application/json")
