"""A pool that goes to zero and comes back, as its EndpointSlice tells: no request fails."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from cluster.agents import Pod, config, endpoint, endpoint_slice, pool, route
from component.router.processes import eventually
from component.router.rig import Rig

SCALING = {"from_zero": True, "wait_timeout_ms": 60_000}
PROBE = {
    "path": "/health",
    "interval_ms": 500,
    "timeout_ms": 2_000,
    "unhealthy_threshold": 2,
    "healthy_threshold": 1,
}
ROUNDS = 5


def own_address() -> str:
    """An address of this machine that EndpointSlices may name; loopback is refused there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("203.0.113.1", 9))  # sends nothing
        address: str = probe.getsockname()[0]
        return address


async def test_requests_go_on_while_a_pool_goes_to_zero_and_back(pod: Pod, tmp_path: Path) -> None:
    address = own_address()
    with Rig(tmp_path) as rig:
        everywhere = ("--host", "0.0.0.0")
        (server,) = rig.simulators("server", model="acme/model", options=everywhere, wait=False)
        await eventually(lambda: _listens(address, server.port), within=30)

        def tell(*, ready: bool) -> None:
            one = endpoint(address, ready=ready, pod="server-0")
            pod.apply(endpoint_slice("models-a", one, ports={"http": server.port}))

        tell(ready=False)
        wanted = pod.write(config({"a": pool(scaling=SCALING, probe=PROBE)}, {"chat": route("a")}))
        pod.start()
        await pod.reached(wanted)

        async def count(name: str) -> int:
            counts = (await pod.configz())["pools"].get("a", {})
            return int(counts.get(name, -1))

        async def is_zero() -> bool:
            return await count("total") == 0

        await eventually(is_zero, within=20)
        # Envoy takes a moment to see that there is an agent to ask.
        first = asyncio.create_task(_until_it_waits(pod))
        await eventually(lambda: _positive(count, "waiting"), within=20)
        began = time.monotonic()
        tell(ready=True)
        assert await first == 200
        print(f"\nanswered {time.monotonic() - began:.2f} s after the endpoint was ready")

        stop = asyncio.Event()
        statuses: list[int] = []

        async def ask() -> None:
            while not stop.is_set():
                status, _ = await pod.chat()
                statuses.append(status)

        asking = [asyncio.create_task(ask()) for _ in range(4)]
        for _ in range(ROUNDS):
            await asyncio.sleep(0.5)
            tell(ready=False)
            await eventually(lambda: _positive(count, "waiting"), within=20)
            tell(ready=True)
            await eventually(lambda: _positive(count, "ready"), within=20)
        stop.set()
        await asyncio.gather(*asking)
        assert set(statuses) == {200}
        assert len(statuses) > 4 * ROUNDS


def _listens(address: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


async def _until_it_waits(pod: Pod) -> int:
    while (answer := await pod.chat())[0] == 503:
        await asyncio.sleep(0.1)
    return answer[0]


async def _positive(count: Callable[[str], Awaitable[int]], name: str) -> bool:
    return bool(await count(name) > 0)
