"""Asking model servers for their metrics, where the target of a pool is one of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence

import aiohttp
import structlog

from modelrouter.api.manifests import Key
from modelrouter.api.quantities import join_address
from modelrouter.controller.children import ChildStore
from modelrouter.controller.loads import autoscaling_of
from modelrouter.controller.snapshot import Snapshot
from modelrouter.controller.store import Object
from modelrouter.plan.scaling.exposition import read_server
from modelrouter.plan.scaling.load import ServerLoad
from modelrouter.plan.vllm.naming import PORT

log = structlog.get_logger(__name__)

PERIOD_SECONDS = 5.0
"""How often each server is asked."""
STALE_SECONDS = 15.0
"""What a server told so long ago counts as not told."""
_ANSWER_SECONDS = 3.0
_LONGEST_ANSWER = 4 * 1024 * 1024
_MOST_AT_ONCE = 64


class ServerMetrics:
    """What the ready servers of pools last told."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        pods: ChildStore,
        port: int = PORT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._pods = pods
        self._port = port
        self._clock = clock
        self._turns = asyncio.Semaphore(_MOST_AT_ONCE)
        self._told: dict[Key, tuple[float, ServerLoad]] = {}
        """By pod."""

    async def follow(self, snapshot: Snapshot) -> None:
        """Ask the servers of all pools whose target they know, again and again."""
        while True:
            pools = []
            for pool in list(snapshot.pools):
                spec = autoscaling_of(snapshot, pool)
                if spec is not None and spec.target.metric != "running_requests":
                    pools.append(pool)
            await asyncio.gather(*(self.ask(pool) for pool in pools))
            oldest = self._clock() - STALE_SECONDS
            self._told = {key: told for key, told in self._told.items() if told[0] > oldest}
            await asyncio.sleep(PERIOD_SECONDS)

    async def ask(self, pool: Key) -> None:
        """Ask all ready servers of a pool now."""
        await asyncio.gather(*(self._ask(pod) for pod in ready_pods(self._pods.of(pool))))

    def of(self, pool: Key) -> Sequence[ServerLoad]:
        """What each ready server of a pool last told."""
        oldest = self._clock() - STALE_SECONDS
        found = []
        for pod in ready_pods(self._pods.of(pool)):
            when, load = self._told.get(_key(pod), (oldest, ServerLoad(pod["metadata"]["name"])))
            found.append(load if when > oldest else ServerLoad(load.pod))
        return found

    async def _ask(self, pod: Object) -> None:
        name, address = pod["metadata"]["name"], str(pod["status"]["podIP"])
        timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
        try:
            async with (
                self._turns,
                self._session.get(
                    f"http://{join_address(address, self._port)}/metrics", timeout=timeout
                ) as answer,
            ):
                answer.raise_for_status()
                text = await answer.content.read(_LONGEST_ANSWER)
                while not answer.content.at_eof() and len(text) < _LONGEST_ANSWER:
                    text += await answer.content.read(_LONGEST_ANSWER - len(text))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            log.debug("model server does not tell its load", pod=name, error=repr(error))
            return  # What it told last holds for a while.
        load = read_server(name, text.decode(errors="replace"))
        self._told[_key(pod)] = (self._clock(), load)


def ready_pods(pods: Iterable[Object]) -> list[Object]:
    """Those pods that are ready, are to stay, and have an address."""
    found = []
    for pod in pods:
        status = pod.get("status") or {}
        conditions = status.get("conditions") or ()
        ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
        if ready and status.get("podIP") and not pod["metadata"].get("deletionTimestamp"):
            found.append(pod)
    return found


def _key(pod: Object) -> Key:
    metadata = pod["metadata"]
    return metadata.get("namespace", ""), str(metadata.get("uid", ""))
