"""LoRA adapters: loaded on and unloaded from running pods, step by step, until they are right."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog

from modelrouter.api.manifests import Key
from modelrouter.controller.adapter_calls import AdapterCalls, AdapterError
from modelrouter.controller.applying import Writer
from modelrouter.controller.children import ChildStore
from modelrouter.controller.store import Object, key_of
from modelrouter.kube.errors import KubeError
from modelrouter.kube.resources import PODS
from modelrouter.plan.servers.adapters import (
    AdapterPod,
    Step,
    leaving,
    marks,
    next_step,
    read_adapter_pod,
)

log = structlog.get_logger(__name__)

LETTING_GO_SECONDS = 5.0
"""How long routers have to stop using an adapter before it is unloaded."""
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 1.0, 300.0


@dataclass(slots=True)
class _Failure:
    """What went wrong with one adapter on one pod."""

    container: str
    path: str
    error: str
    times: int
    retry_at: float


@dataclass(slots=True)
class _PodMemory:
    """What is remembered of a pod between two steps; nothing that a new leader would miss."""

    pool: Key
    withdrawn: dict[str, float] = field(default_factory=dict)
    """By adapter that is to be unloaded, since when routers have been told."""
    failures: dict[str, _Failure] = field(default_factory=dict)


class AdapterLoader:
    """Brings the adapters of pods about. One call at a time for each pod."""

    def __init__(
        self,
        pods: ChildStore,
        wanted: Callable[[Key], Mapping[str, str] | None],
        pool_of: Callable[[Object], Key],
        writer: Writer,
        calls: AdapterCalls,
        changed: Callable[[Key], None],
    ) -> None:
        """`wanted` gives a pool's adapters, paths by name, or None if it has no servers of its own;
        `changed` is told of a pool when something is to be said about it."""
        self._pods = pods
        self._wanted = wanted
        self._pool_of = pool_of
        self._writer = writer
        self._calls = calls
        self._changed = changed
        self._memory: dict[Key, _PodMemory] = {}

    def errors(self, pool: Key) -> dict[str, str]:
        """By adapter, what went wrong last, on the first pod by name that has it."""
        found: dict[str, str] = {}
        for key in sorted(key for key, memory in self._memory.items() if memory.pool == pool):
            for name, failure in self._memory[key].failures.items():
                found.setdefault(name, f"pod {key[1]}: {failure.error}")
        return found

    def settled(self, pool: Key) -> bool:
        """Whether every adapter has been tried on each of a pool's pods that could take it."""
        wanted = self._wanted(pool)
        if not wanted:
            return True
        for obj in self._pods.of(pool):
            pod, memory = read_adapter_pod(obj), self._memory.get(key_of(obj))
            failures = memory.failures if memory is not None else {}
            if pod.ready and wanted.keys() - pod.usable - failures.keys():
                return False
        return True

    async def work_on(self, key: Key) -> float | None:
        """Take a pod's next steps; the seconds after which to look again, or None."""
        while True:
            obj = self._pods.get(key)
            if obj is None or obj["metadata"].get("deletionTimestamp"):
                self._forget(key)
                return None
            pool = self._pool_of(obj)
            wanted = self._wanted(pool)
            if wanted is None:
                self._forget(key)
                return None
            memory = self._memory.setdefault(key, _PodMemory(pool))
            pod, now = read_adapter_pod(obj), time.monotonic()
            self._look_back(key, memory, pod, wanted, now)
            due = {name for name, since in memory.withdrawn.items() if since <= now}
            later = {n for n, failure in memory.failures.items() if failure.retry_at > now}
            possible = {name: path for name, path in wanted.items() if name not in later}
            for name in later & wanted.keys() & pod.loaded.keys():
                possible[name] = wanted[name]
            step = next_step(pod, possible, frozenset(due - later))
            if step is None:
                return self._until_next(memory, pod, now)
            await self._take(key, obj, pod, step, wanted, memory)

    def _look_back(
        self,
        key: Key,
        memory: _PodMemory,
        pod: AdapterPod,
        wanted: Mapping[str, str],
        now: float,
    ) -> None:
        """Forget what does not matter any more, and begin to wait where it has to be."""
        go = leaving(pod, wanted)
        memory.withdrawn = {
            name: memory.withdrawn.get(name, now + LETTING_GO_SECONDS) for name in go
        }
        kept = {
            name: failure
            for name, failure in memory.failures.items()
            if failure.container == pod.container
            and failure.path == wanted.get(name, "")
            and (name in wanted) != (pod.loaded.get(name) == wanted.get(name))
        }
        if kept.keys() != memory.failures.keys():
            memory.failures = kept
            self._changed(memory.pool)

    async def _take(
        self,
        key: Key,
        obj: Object,
        pod: AdapterPod,
        step: Step,
        wanted: Mapping[str, str],
        memory: _PodMemory,
    ) -> None:
        loaded = dict(pod.loaded)
        match step.kind:
            case "forget":
                await self._mark(obj, "", {}, dict.fromkeys(step.names, False))
            case "withdraw":
                await self._mark(obj, pod.noted, loaded, dict.fromkeys(step.names, False))
            case "label":
                await self._mark(obj, pod.noted, loaded, dict.fromkeys(step.names, True))
            case "unload" | "load":
                (name,) = step.names
                try:
                    if step.kind == "load":
                        await self._calls.load(pod.address, name, wanted[name])
                        loaded[name] = wanted[name]
                    else:
                        await self._calls.unload(pod.address, name)
                        del loaded[name]
                except AdapterError as error:
                    self._note_failure(key, memory, pod, name, wanted.get(name, ""), str(error))
                    return
                log.info(f"adapter {step.kind}ed", pod="/".join(key), adapter=name)
                memory.failures.pop(name, None)
                memory.withdrawn.pop(name, None)
                on = {name: True} if step.kind == "load" else {}
                await self._mark(obj, pod.container, loaded, on)
        self._changed(memory.pool)

    async def _mark(
        self,
        obj: Object,
        container: str,
        loaded: Mapping[str, str],
        labels: Mapping[str, bool],
    ) -> None:
        metadata = obj["metadata"]
        patch = {
            "metadata": {
                **{name: metadata[name] for name in ("name", "namespace", "uid")},
                **marks(container, loaded, labels),
            }
        }
        try:
            self._pods.put(await self._writer.merge(PODS, patch))
        except KubeError as error:
            if not (error.is_not_found or error.is_conflict):
                raise
            # Gone, or made anew under its name: the watch says so in a moment.
            self._pods.remove(obj)

    def _note_failure(
        self, key: Key, memory: _PodMemory, pod: AdapterPod, name: str, path: str, error: str
    ) -> None:
        before = memory.failures.get(name)
        times = before.times + 1 if before is not None else 1
        pause = min(FIRST_RETRY_SECONDS * 2 ** (times - 1), LONGEST_RETRY_SECONDS)
        failure = _Failure(pod.container, path, error, times, time.monotonic() + pause)
        memory.failures[name] = failure
        log.warning("an adapter failed", pod="/".join(key), adapter=name, error=error)
        if before is None or before.error != error:
            self._changed(memory.pool)

    def _until_next(self, memory: _PodMemory, pod: AdapterPod, now: float) -> float | None:
        if not pod.ready:
            return None
        times = [*memory.withdrawn.values(), *(f.retry_at for f in memory.failures.values())]
        soon = [at - now for at in times if at > now]
        return max(min(soon), 0.05) if soon else None

    def _forget(self, key: Key) -> None:
        memory = self._memory.pop(key, None)
        if memory is not None and memory.failures:
            self._changed(memory.pool)
