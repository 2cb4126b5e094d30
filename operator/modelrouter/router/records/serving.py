"""`/recordz`: the record of one request, for a person who asks why it went where it went."""

from __future__ import annotations

from collections.abc import Iterable

import orjson
from aiohttp import web

from modelrouter.router.records.keeping import DecisionRecords


def record_routes(records: DecisionRecords) -> Iterable[web.RouteDef]:
    """What the admin server answers about records."""

    async def recordz(request: web.Request) -> web.Response:
        request_id = request.query.get("request_id", "")
        if not request_id:
            return _json({"error": "request_id: write the x-request-id of an answer"}, 400)
        found = records.view(request_id)
        if found is None:
            return _json({"error": "this router has no record of the request"}, 404)
        return _json(found)

    return [web.get("/recordz", recordz)]


def _json(value: object, status: int = 200) -> web.Response:
    body = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return web.Response(body=body, status=status, content_type="application/json")
