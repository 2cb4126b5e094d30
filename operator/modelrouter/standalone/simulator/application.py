"""The server's paths."""

from __future__ import annotations

import asyncio
from functools import partial
from zlib import crc32

from aiohttp import web

from modelrouter.standalone.simulator.chat import answer_chat
from modelrouter.standalone.simulator.completions import answer_completion
from modelrouter.standalone.simulator.control import add_control
from modelrouter.standalone.simulator.embeddings import answer_embeddings
from modelrouter.standalone.simulator.errors import DrainingError, RouteError
from modelrouter.standalone.simulator.prompts import BYTES_PER_TOKEN, chat_prompt, text_prompt
from modelrouter.standalone.simulator.server import Server, json_request, json_response
from modelrouter.standalone.simulator.settings import VLLM_VERSION, SimulatorSettings
from modelrouter.standalone.simulator.validation import check_adapter, check_input

SERVER: web.AppKey[Server] = web.AppKey("server", Server)

_MAX_BODY_BYTES = 1 << 30
"""vLLM sets no bound of its own; aiohttp wants one."""

_VOCABULARY = 32_000

_UNTYPED = "untyped"
"""Marks an answer whose body has no `Content-Type`."""


def make_app(settings: SimulatorSettings) -> web.Application:
    """An application for one simulated server.

    Run it with `handler_cancellation=True` and `auto_decompress=False`, as `serve` does: only
    then does a client that leaves free its place, and is a body recorded as it was sent.
    """
    server = Server(settings)
    app = web.Application(client_max_size=_MAX_BODY_BYTES)
    app[SERVER] = server
    app.on_response_prepare.append(_name_server)
    if settings.control:
        add_control(app, server)
    for path, answer in (
        ("/v1/chat/completions", answer_chat),
        ("/v1/completions", answer_completion),
        ("/v1/embeddings", answer_embeddings),
        ("/tokenize", _tokenize),
    ):
        app.router.add_route("*", path, server.endpoint("POST", partial(answer, server)))
    app.router.add_route("*", "/v1/models", server.endpoint("GET", partial(_models, server)))
    if settings.runtime_lora:
        for path, lora in (
            ("/v1/load_lora_adapter", _load_lora),
            ("/v1/unload_lora_adapter", _unload_lora),
        ):
            app.router.add_route("*", path, server.endpoint("POST", partial(lora, server)))
    # Probes and scrapes are kept out of the journal, where they would crowd out the requests.
    app.router.add_get("/health", partial(_health, server))
    app.router.add_route("*", "/ping", partial(_health, server))
    app.router.add_get("/metrics", partial(_metrics, server))
    app.router.add_get("/version", _version)
    app.router.add_get("/load", partial(_load, server))
    app.router.add_route("*", "/{path:.*}", server.endpoint(None, _not_found))
    return app


async def _name_server(request: web.Request, response: web.StreamResponse) -> None:
    # aiohttp would add its own name and release.
    response.headers["Server"] = "uvicorn"
    if _UNTYPED in response:
        # Nor can it be told before this moment to name no type.
        del response.headers["Content-Type"]


async def _models(server: Server, request: web.Request, raw: bytes) -> web.StreamResponse:
    return json_response(server.models.listing())


async def _load_lora(server: Server, request: web.Request, raw: bytes) -> web.StreamResponse:
    body = json_request(request, raw)
    check_adapter(body, "lora_name", "lora_path")
    name, path = body["lora_name"], body["lora_path"]
    in_place = bool(body.get("load_inplace"))
    async with server.adapter_lock:
        server.models.check(name, path, in_place=in_place)
        await asyncio.sleep(server.settings.adapter_load_s)
        return _confirmation(server.models.load(name, path))


async def _unload_lora(server: Server, request: web.Request, raw: bytes) -> web.StreamResponse:
    body = json_request(request, raw)
    check_adapter(body, "lora_name")
    return _confirmation(server.models.unload(body["lora_name"]))


def _confirmation(text: str) -> web.Response:
    response = web.Response(body=text.encode())
    response[_UNTYPED] = True
    return response


async def _tokenize(server: Server, request: web.Request, raw: bytes) -> web.StreamResponse:
    body = json_request(request, raw)
    check_input(body)
    server.models.resolve(body.get("model"))
    if server.engine.draining:
        raise DrainingError
    if "messages" in body:
        prompt = chat_prompt(body["messages"], body.get("tools"))
    else:
        prompt = text_prompt(body.get("prompt"))
    data = prompt.data
    starts = range(0, len(data), BYTES_PER_TOKEN)
    ids = [crc32(data[start : start + BYTES_PER_TOKEN]) % _VOCABULARY for start in starts]
    # Images have no text of their own; pad so that the count and the list agree.
    ids += [0] * (prompt.tokens - len(ids))
    return json_response(
        {
            "count": prompt.tokens,
            "max_model_len": server.settings.max_model_len,
            "tokens": ids[: prompt.tokens],
            "token_strs": None,
        }
    )


async def _health(server: Server, request: web.Request) -> web.Response:
    if server.engine.death.is_set():
        return web.Response(status=503)
    return web.Response(status=server.faults.plan.health_status)


async def _metrics(server: Server, request: web.Request) -> web.Response:
    return web.Response(
        body=server.engine.metrics.exposition(),
        headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
    )


async def _version(request: web.Request) -> web.Response:
    return json_response({"version": VLLM_VERSION})


async def _load(server: Server, request: web.Request) -> web.Response:
    return json_response({"server_load": server.engine.running + server.engine.waiting})


async def _not_found(request: web.Request, raw: bytes) -> web.StreamResponse:
    raise RouteError(404)
