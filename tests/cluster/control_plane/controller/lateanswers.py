"""The API server behind a proxy that does at once what it is asked, and answers some of it late.

So it is with an etcd on a slow disk: whoever watches sees a write before the writer has its answer.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import aiohttp
import yaml
from aiohttp import web

from modelrouter.standalone.ports import free_port

_NOT_FORWARDED = ("host", "connection", "transfer-encoding", "content-length", "content-encoding")


@contextmanager
def late_answers(kubeconfig: Path, resource: str, seconds: float) -> Iterator[Path]:
    """A kubeconfig by which answers to writes of `resource` come so much later."""
    content = yaml.safe_load(kubeconfig.read_text())
    (cluster,) = (entry["cluster"] for entry in content["clusters"])
    url, authority = cluster["server"], cluster.pop("certificate-authority")
    port = free_port()
    cluster["server"] = f"http://127.0.0.1:{port}"
    changed = kubeconfig.with_name(f"{kubeconfig.name}-late")
    changed.write_text(yaml.safe_dump(content))
    proxy = _Proxy(url, authority, resource, seconds)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(proxy.start(port), loop).result(10)
    try:
        yield changed
    finally:
        asyncio.run_coroutine_threadsafe(proxy.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class _Proxy:
    def __init__(self, url: str, authority: str, resource: str, seconds: float) -> None:
        self._url, self._authority = url, authority
        self._resource, self._seconds = resource, seconds

    async def start(self, port: int) -> None:
        tls = ssl.create_default_context(cafile=self._authority)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=tls),
            timeout=aiohttp.ClientTimeout(total=None),
        )
        app = web.Application(client_max_size=4 * 1024**2)
        app.router.add_route("*", "/{path:.*}", self._forward)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()

    async def stop(self) -> None:
        # Watches end with it.
        await self._session.close()
        await self._runner.cleanup()

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _NOT_FORWARDED}
        async with self._session.request(
            request.method, self._url + request.raw_path, headers=headers, data=await request.read()
        ) as found:
            if request.method != "GET" and f"/{self._resource}" in request.path:
                await asyncio.sleep(self._seconds)
            kept = {k: v for k, v in found.headers.items() if k.lower() not in _NOT_FORWARDED}
            answer = web.StreamResponse(status=found.status, headers=kept)
            await answer.prepare(request)
            with suppress(aiohttp.ClientError):
                async for chunk in found.content.iter_any():
                    await answer.write(chunk)
            return answer
