"""Which routes are programmed, as anybody who watches the cluster sees it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.processes import BenchError
from modelrouter.kube.client import KubeClient
from modelrouter.kube.connection import find_cluster
from modelrouter.kube.resources import MODEL_ROUTES, Object, resource_of
from modelrouter.kube.watching import Deleted, Synced, watch_objects

_AT_ONCE = 32


class Statuses:
    """A watch of the routes of one namespace, in a thread of its own."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self._kubeconfig, self._namespace = kubeconfig, namespace
        self._programmed: dict[str, tuple[int, float]] = {}
        self._ready: dict[str, tuple[int, float]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="statuses", daemon=True)
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())
        self._thread.join(5)

    def await_programmed(self, name: str, generation: int, seconds: float) -> float:
        """Wait for a generation of a route; when its status said so."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found, at = self._programmed.get(name, (0, 0.0))
            if found >= generation:
                return at
            time.sleep(0.005)
        raise BenchError(f"generation {generation} of {name} is not Programmed in {seconds:g} s")

    def await_all_programmed(self, count: int, seconds: float) -> float:
        """Wait until so many routes are `Programmed`; when the last of them was."""
        return _await_count(self._programmed, count, seconds, "Programmed")

    def await_all_ready(self, count: int, seconds: float) -> float:
        """The same for `Ready`."""
        return _await_count(self._ready, count, seconds, "Ready")

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(self._follow())
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            self._loop.close()

    async def _follow(self) -> None:
        async with KubeClient(await find_cluster(self._kubeconfig)) as client:
            async for change in watch_objects(client, MODEL_ROUTES, self._namespace):
                if isinstance(change, Synced):
                    for each in change.objects:
                        self._note(each)
                elif isinstance(change, Deleted):
                    for known in (self._programmed, self._ready):
                        known.pop(change.object["metadata"]["name"], None)
                else:
                    self._note(change.object)

    def _note(self, found: Object) -> None:
        name, generation = found["metadata"]["name"], found["metadata"]["generation"]
        status = found.get("status") or {}
        conditions = {each["type"]: each for each in status.get("conditions") or ()}
        for type_, known in (("Programmed", self._programmed), ("Ready", self._ready)):
            condition: dict[str, Any] = conditions.get(type_) or {}
            holds = condition.get("status") == "True"
            if not holds or condition.get("observedGeneration") != generation:
                known.pop(name, None)
            elif known.get(name, (0, 0.0))[0] != generation:
                known[name] = (generation, time.time())


def _await_count(
    known: dict[str, tuple[int, float]], count: int, seconds: float, what: str
) -> float:
    deadline = time.monotonic() + seconds
    while len(known) < count:
        if time.monotonic() > deadline:
            raise BenchError(f"{len(known)} of {count} routes are {what} after {seconds:g} s")
        time.sleep(0.02)
    return max(at for _, at in known.copy().values())


def apply_all(kubeconfig: Path, namespace: str, manifests: Iterable[Object]) -> None:
    """Server-side apply of many objects, many at a time."""

    async def work(write: Callable[[Object], Awaitable[Object]], todo: list[Object]) -> None:
        while todo:
            await write(todo.pop())

    async def apply() -> None:
        async with KubeClient(await find_cluster(kubeconfig)) as client:

            async def write(manifest: Object) -> Object:
                placed = {**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}}
                return await client.apply(resource_of(manifest), placed, manager="bench")

            todo = list(manifests)[::-1]
            await asyncio.gather(*(work(write, todo) for _ in range(_AT_ONCE)))

    asyncio.run(apply())
