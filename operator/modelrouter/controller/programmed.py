"""What every router pod has acknowledged, by one open question to each.

An agent answers `/configz?after=VERSION&pools=DIGEST` as soon as its Envoy works by another
version, or sees other endpoints; otherwise after the timeout. Agents write nothing to the API
server, and only the leader asks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import aiohttp
import orjson
import structlog

from modelrouter.api.manifests import Key
from modelrouter.api.quantities import join_address
from modelrouter.controller.pods import Pod
from modelrouter.plan.facts import Counts, PoolLoad, RouterPod
from modelrouter.plan.naming import ADMIN_PORT

log = structlog.get_logger(__name__)

POLL_SECONDS = 25
"""How long an agent holds a question to which there is no news."""
PATIENCE_SECONDS = 3.0
"""A pod that has not answered for so long cannot be asked; before, its last answer holds."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_HASTE_SECONDS = 0.5
"""An agent that answers sooner although nothing is new is asked no more often than this."""


@dataclass(slots=True)
class Report:
    """What one pod last said."""

    pod: Pod
    since: float
    """When it was first asked, on the monotonic clock."""
    version: str | None = None
    """Version acknowledged, empty if none yet; None: it has never answered."""
    pools: dict[str, Counts] = field(default_factory=dict)
    loads: dict[str, PoolLoad] = field(default_factory=dict)
    """Of the pools whose load it tells: the autoscaled ones."""
    digest: str = ""
    silent_since: float | None = None
    """Since when it has not answered; None: it answers."""
    task: asyncio.Task[None] | None = None

    def lost(self, now: float) -> bool:
        """Whether it has been silent for too long."""
        return self.silent_since is not None and now - self.silent_since >= PATIENCE_SECONDS

    def settled(self, now: float) -> bool:
        """Whether there is an answer, or no hope of one."""
        return self.version is not None or self.lost(now)


Changed = Callable[[Key, bool, Iterable[str]], None]
"""Takes the router, whether its acknowledged version may be new, and the pools whose endpoints
are seen differently."""
LoadChanged = Callable[[Key, Iterable[str]], None]
"""Takes the router, and the pools of which a pod tells another load, or none any more."""


class AgentPolls:
    """Open questions to all router pods."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        changed: Changed,
        load_changed: LoadChanged = lambda router, pools: None,
        port: int = ADMIN_PORT,
    ) -> None:
        self._session = session
        self._changed = changed
        self._load_changed = load_changed
        self._port = port
        self._reports: dict[Key, Report] = {}

    def follow(self, router: Key, pods: Iterable[Pod]) -> None:
        """These are a router's pods now."""
        wanted = {pod.key: pod for pod in pods if pod.address}
        for key, report in list(self._reports.items()):
            if report.pod.router != router:
                continue
            pod = wanted.get(key)
            if pod is None or (pod.uid, pod.address) != (report.pod.uid, report.pod.address):
                self._drop(key)
            else:
                report.pod = pod
        for key, pod in wanted.items():
            if key not in self._reports:
                report = self._reports[key] = Report(pod, time.monotonic())
                report.task = asyncio.create_task(self._ask_for_ever(report))

    def facts(self, pod: Pod) -> RouterPod:
        """What is known of a pod."""
        report = self._reports.get(pod.key)
        if report is None or report.version is None or report.lost(time.monotonic()):
            return RouterPod(name=pod.name, ready=pod.ready)
        return RouterPod(pod.name, pod.ready, report.version, report.pools)

    def loads(self, pod: Pod) -> Mapping[str, PoolLoad] | None:
        """What a pod says of the load of the autoscaled pools; None: it cannot be asked."""
        report = self._reports.get(pod.key)
        if report is None or report.version is None or report.lost(time.monotonic()):
            return None
        return report.loads

    def settled(self, pods: Iterable[Pod]) -> bool:
        """Whether every ready pod has answered, or has had its chance."""
        now = time.monotonic()
        reports = [self._reports.get(pod.key) for pod in pods if pod.ready]
        return all(report is not None and report.settled(now) for report in reports)

    async def stop(self) -> None:
        """Ask no more."""
        tasks = [report.task for report in self._reports.values() if report.task]
        for key in list(self._reports):
            self._drop(key)
        if tasks:
            await asyncio.wait(tasks)

    def _drop(self, key: Key) -> None:
        report = self._reports.pop(key)
        if report.task is not None:
            report.task.cancel()

    async def _ask_for_ever(self, report: Report) -> None:
        pause = _FIRST_PAUSE
        while True:
            asked = time.monotonic()
            try:
                news = await self._ask(report)
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                self._note_silence(report, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                pause = _FIRST_PAUSE
                if not news and time.monotonic() - asked < _HASTE_SECONDS:
                    await asyncio.sleep(_HASTE_SECONDS)

    async def _ask(self, report: Report) -> bool:
        first = report.version is None or report.silent_since is not None
        query = (
            {}
            if first
            else {
                "after": report.version or "",
                "pools": report.digest,
                "timeout": str(POLL_SECONDS),
            }
        )
        wait = aiohttp.ClientTimeout(total=5 if first else POLL_SECONDS + 5, sock_connect=2)
        url = f"http://{join_address(report.pod.address, self._port)}/configz"
        async with self._session.get(url, params=query, timeout=wait) as response:
            response.raise_for_status()
            answer = orjson.loads(await response.read())
        if not isinstance(answer, dict):
            raise ValueError("the answer is no JSON object")
        return self._note_answer(report, answer)

    def _note_answer(self, report: Report, answer: Mapping[str, object]) -> bool:
        version, pools = str(answer.get("version") or ""), _counts(answer.get("pools"))
        news = version != report.version or report.silent_since is not None
        other = {
            name
            for name in pools.keys() | report.pools.keys()
            if pools.get(name) != report.pools.get(name)
        }
        loads = _loads(answer.get("pools"))
        loaded = {
            name
            for name in loads.keys() | report.loads.keys()
            if loads.get(name) != report.loads.get(name)
        }
        if report.silent_since is not None:
            log.info("router pod answers again", pod=report.pod.name)
        report.version, report.pools, report.silent_since = version, pools, None
        report.loads = loads
        report.digest = str(answer.get("poolsDigest") or "")
        if news or other:
            self._changed(report.pod.router, news, other)
        if loaded:
            self._load_changed(report.pod.router, loaded)
        return news or bool(other) or bool(loaded)

    def _note_silence(self, report: Report, error: Exception) -> None:
        now = time.monotonic()
        if report.silent_since is None:
            report.silent_since = now
            loop = asyncio.get_running_loop()
            loop.call_later(PATIENCE_SECONDS + 0.05, self._check, report)
            log.debug("router pod does not answer", pod=report.pod.name, error=repr(error))

    def _check(self, report: Report) -> None:
        """Once a pod's silence has lasted too long, it counts as lost."""
        if self._reports.get(report.pod.key) is report and report.lost(time.monotonic()):
            if report.pod.ready:
                log.warning("router pod does not answer", pod=report.pod.name)
            self._changed(report.pod.router, True, list(report.pools))


def _counts(value: object) -> dict[str, Counts]:
    if not isinstance(value, dict):
        return {}
    return {
        name: Counts(int(n["ready"]), int(n["total"]), int(n.get("ejected", 0)))
        for name, n in value.items()
    }


def _loads(value: object) -> dict[str, PoolLoad]:
    if not isinstance(value, dict):
        return {}
    return {
        name: PoolLoad(int(n["inFlight"]), int(n.get("waiting", 0)))
        for name, n in value.items()
        if "inFlight" in n
    }
