"""Pods of a router find each other by its Service, with the rights that they have anyway."""

from __future__ import annotations

import socket
from typing import Any

import httpx
from aiohttp import web

from cluster.agents import ROUTER, Pod, config, endpoint, endpoint_slice, pool, route
from component.router.processes import eventually
from modelrouter.plan.naming import child_name


def own_address() -> str:
    """An address of this machine other than the loopback, which no EndpointSlice may have."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing
        return str(probe.getsockname()[0])


async def test_feedback_reaches_the_pod_that_knows_the_request(pod: Pod) -> None:
    asked: list[Any] = []

    async def take(request: web.Request) -> web.Response:
        asked.append(await request.json())
        return web.json_response({}, status=202 if asked[-1]["request_id"] == "known" else 404)

    address = own_address()
    app = web.Application()
    app.router.add_post("/feedbackz", take)
    runner = web.AppRunner(app)
    await runner.setup()
    # The other pod: as all of a router, it has its admin server on the same port.
    await web.TCPSite(runner, address, pod.admin_port).start()
    try:
        service = child_name(ROUTER)
        pod.apply(endpoint_slice("models-a", "10.77.0.1"))
        wanted = pod.write(config({"a": pool()}, {"chat": route("a")}))
        pod.start()
        await pod.reached(wanted)
        async with httpx.AsyncClient(trust_env=False, timeout=20) as http:

            async def send(request_id: str) -> int:
                body = {"request_id": request_id, "score": 0.5, "label": "thumb"}
                url = f"http://127.0.0.1:{pod.port}/v1/feedback"
                return (await http.post(url, json=body)).status_code

            assert await send("known") == 404
            unready = endpoint(address, ready=False)
            pod.apply(endpoint_slice("pods-a", unready, service=service, ports={"http": 8080}))
            assert await send("known") == 404
            assert not asked
            pod.apply(endpoint_slice("pods-a", address, service=service, ports={"http": 8080}))

            async def found() -> bool:
                return await send("known") == 202

            await eventually(found)
            assert await send("nobody's") == 404
        assert asked[0] == {"request_id": "known", "score": 0.5, "label": "thumb", "comment": ""}
    finally:
        await runner.cleanup()
