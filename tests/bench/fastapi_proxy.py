"""A proxy as it is usually written in Python, to compare with.

FastAPI under uvicorn; the body is read and parsed, the model is renamed, and the answer is streamed
back. `BENCH_CLIENT` chooses what talks to the backend: httpx, or aiohttp as in the router of vLLM's
production-stack. It decides nothing and counts nothing, so a real one costs more.

It runs in an environment of its own and imports nothing of this project.
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import httpx
from fastapi import FastAPI, Request  # type: ignore[import-not-found,unused-ignore]
from fastapi.responses import (  # type: ignore[import-not-found,unused-ignore]
    JSONResponse,
    Response,
    StreamingResponse,
)

CLIENT = os.environ["BENCH_CLIENT"]
MODELS: dict[str, str] = json.loads(os.environ["BENCH_MODELS"])
BACKEND_MODEL = os.environ["BENCH_BACKEND_MODEL"]
AUTHORIZATION = f"Bearer {os.environ['BENCH_KEY']}"

NOT_FORWARDED = {"host", "connection", "content-length", "transfer-encoding", "authorization"}
NOT_RETURNED = {"connection", "content-length", "content-encoding", "transfer-encoding"}


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:
    """Keep one client, with no limit of its own on connections."""
    if CLIENT == "httpx":
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        async with httpx.AsyncClient(limits=limits, timeout=None) as app.state.client:
            yield
    else:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as app.state.client:
            yield


app = FastAPI(lifespan=lifespan)


@app.get("/health")  # type: ignore[untyped-decorator,unused-ignore]
async def health() -> dict[str, str]:
    """Whether it is up."""
    return {"status": "ok"}


@app.post("/v1/chat/completions")  # type: ignore[untyped-decorator,unused-ignore]
async def chat_completions(request: Request) -> Response:
    """Pass a request on to the backend of its model."""
    body = json.loads(await request.body())
    base = MODELS.get(body.get("model"))
    if base is None:
        return JSONResponse({"error": "model not found"}, status_code=404)
    body["model"] = BACKEND_MODEL
    content = json.dumps(body).encode()
    headers = {k: v for k, v in request.headers.items() if k.lower() not in NOT_FORWARDED}
    headers["authorization"] = AUTHORIZATION
    url = base + request.url.path
    forward = _by_httpx if CLIENT == "httpx" else _by_aiohttp
    answer = forward(request.app.state.client, url, headers, content)
    status, answer_headers = await anext(answer)
    kept = {k: v for k, v in answer_headers.items() if k.lower() not in NOT_RETURNED}
    return StreamingResponse(answer, status, kept)


async def _by_httpx(client: Any, url: str, headers: Any, content: bytes) -> AsyncIterator[Any]:
    async with client.stream("POST", url, headers=headers, content=content) as answer:
        yield answer.status_code, answer.headers
        async for chunk in answer.aiter_raw():
            yield chunk


async def _by_aiohttp(client: Any, url: str, headers: Any, content: bytes) -> AsyncIterator[Any]:
    timeout = aiohttp.ClientTimeout(total=None)
    async with client.post(url, headers=headers, data=content, timeout=timeout) as answer:
        yield answer.status, answer.headers
        async for chunk in answer.content.iter_any():
            yield chunk
