"""Envoy's container asks for a drain by a file, and gets its answer by another."""

from __future__ import annotations

import asyncio
import time

import pytest

from cluster.agents import Pod, config, pool, route
from component.router.processes import eventually


@pytest.fixture
async def running(pod: Pod) -> Pod:
    version = pod.write(config({"a": pool()}, {"chat": route("a")}))
    pod.start()
    await pod.reached(version)
    return pod


async def test_drains_for_some_seconds_and_is_not_ready_meanwhile(running: Pod) -> None:
    began = time.monotonic()
    (running.runtime / "drain").touch()

    async def draining() -> bool:
        readiness = await running.readiness()
        return bool(readiness["draining"] and not readiness["ready"])

    await eventually(draining)
    assert (await running.chat())[0] == 503  # its pool has no endpoint; but it answers
    drained = running.runtime / "drained"
    await eventually(drained.exists, within=20)
    assert time.monotonic() - began >= 6


async def test_a_connection_that_is_kept_unused_is_closed_before_the_end(running: Pod) -> None:
    """A request that came on it when Envoy ends would be lost."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    for _ in range(2):
        writer.write(b"GET /v1/models HTTP/1.1\r\nhost: router\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        await reader.readexactly(length)
    (running.runtime / "drain").touch()
    assert await asyncio.wait_for(reader.read(), 20) == b""
    assert not (running.runtime / "drained").exists()
    await eventually((running.runtime / "drained").exists, within=20)
    writer.close()


async def test_another_envoy_in_the_same_pod_is_welcome(running: Pod) -> None:
    """A liveness probe ends Envoy's container, with its hook, and the pod goes on."""
    (running.runtime / "drain").touch()
    await eventually((running.runtime / "drained").exists, within=20)
    running.kill_envoy()
    running.start_envoy()

    async def ready() -> bool:
        return bool((await running.readiness())["ready"])

    await eventually(ready, within=20)
    assert not (running.runtime / "drain").exists()
    assert not (running.runtime / "drained").exists()


async def test_the_agent_alone_may_end_without_a_drain(running: Pod) -> None:
    """Its container is restarted; Envoy must not close its connections for that."""
    began = time.monotonic()
    running.terminate_agent()
    assert time.monotonic() - began < 5
    running.start_agent()

    async def ready() -> bool:
        return bool((await running.readiness())["ready"])

    await eventually(ready, within=20)
    assert not (running.runtime / "drained").exists()


async def test_sockets_are_for_the_group_and_nobody_else(running: Pod) -> None:
    """Agent and Envoy are two users of one group."""
    for name in ("admin.sock", "control.sock", "decide.sock", "requests.pipe"):
        mode = (running.runtime / name).stat().st_mode & 0o777
        assert mode & 0o060 == 0o060, f"{name}: {mode:o}"
        assert mode & 0o007 == 0, f"{name}: {mode:o}"
    assert (running.runtime / "envoy.json").stat().st_mode & 0o777 == 0o640
    for path in running.state.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
