"""The operator's own HTTP server: probes, metrics, and the load of pools for KEDA."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from modelrouter.plan.scaling.keda import scale_path


class Probed(Protocol):
    """What the server asks the operator."""

    def health(self) -> tuple[bool, Mapping[str, Any]]:
        """Whether a restart would help, and the detail for people."""

    def readiness(self) -> tuple[bool, Mapping[str, Any]]:
        """Whether the operator knows the cluster, so that it can lead or take over at once."""

    async def load(self, namespace: str, pool: str) -> tuple[int, Mapping[str, Any]]:
        """Status and body of the answer about the load of a pool."""


def make_app(operator: Probed, registry: CollectorRegistry) -> web.Application:
    """The routes of the server."""

    async def healthz(_: web.Request) -> web.Response:
        healthy, detail = operator.health()
        return _json({"healthy": healthy, **detail}, 200 if healthy else 503)

    async def readyz(_: web.Request) -> web.Response:
        ready, detail = operator.readiness()
        return _json({"ready": ready, **detail}, 200 if ready else 503)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST}
        )

    async def scale(request: web.Request) -> web.Response:
        namespace, pool = request.match_info["namespace"], request.match_info["pool"]
        status, body = await operator.load(namespace, pool)
        return _json(body, status)

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    app.router.add_get(scale_path("{namespace}", "{pool}"), scale)
    return app


def _json(value: Mapping[str, Any], status: int) -> web.Response:
    body = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return web.Response(body=body, status=status, content_type="application/json")
