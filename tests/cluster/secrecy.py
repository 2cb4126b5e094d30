"""Whether a secret value shows up anywhere during a test run.

Every value of a Secret that a test makes bears a mark (`planted`). While the tests run, a recorder
looks for the mark, as text and as base64, in all that may be seen by those who may not see Secrets:
ConfigMaps, Events, routes, pools and their statuses, the operator's and the routers' pods and
Deployments, the logs of all pods of the harness's own node, of processes that tests start, and of
the control plane with its audit log. It follows them, so that what is gone at the end counts too.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import threading
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from contextlib import suppress
from glob import glob
from pathlib import Path
from typing import IO, Any

import orjson

from cluster.kubernetes.access import Kubernetes
from modelrouter.kube.client import KubeClient
from modelrouter.kube.connection import find_cluster
from modelrouter.kube.errors import KubeError
from modelrouter.kube.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    EVENTS,
    MODEL_POOLS,
    MODEL_ROUTES,
    PODS,
    SECRETS,
    Resource,
)

MARK = "planted-5e1f7a"
"""In every secret value of the tests."""

_WATCHED = (SECRETS, CONFIG_MAPS, EVENTS, MODEL_ROUTES, MODEL_POOLS, PODS, DEPLOYMENTS)
_OURS = ("model-router", "model-router-operator")
_NOT_VALUES = ("helm.sh/release.v1", "kubernetes.io/service-account-token")
_PLACEHOLDER = b"not-a-real-key"
"""What the examples have in place of a key; everybody may read it there."""
_POD_LOGS = Path("/var/log/pods")
_EVERY_SECONDS = 0.5
_LAST_LOOK_SECONDS = 60.0
_OVERLAP = 200
_HIDDEN = "…".encode()


def planted(name: str = "key") -> str:
    """A value for a Secret, which this run does not forget."""
    return f"{MARK}-{name}-{secrets.token_hex(4)}"


class Recorder:
    """Looks for a mark from `start` to `stop`."""

    def __init__(self, kubernetes: Kubernetes, mark: str = MARK) -> None:
        self._kubernetes = kubernetes
        self._pattern = spellings(mark)
        self._mark = mark.encode()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._places: dict[str, None] = {}
        self._before: set[str] = set()
        self._pods: set[str] = set()
        self._logs: dict[Path, IO[bytes]] = {}
        self._rest: dict[Path, bytes] = {}
        self.looked_at = dict.fromkeys((resource.kind for resource in _WATCHED), 0)
        """How many states of objects of a kind were seen."""

    def start(self) -> None:
        """Begin to follow the cluster. Secrets that are there already are not the tests'."""
        listed = ("get", "secrets", "-A", "-o", "jsonpath={.items[*].metadata.uid}")
        self._before = set(self._kubernetes.kubectl(*listed).split())
        self._thread.start()

    def stop(self) -> list[str]:
        """Where the mark was found; where a Secret lacks it, which would go unnoticed."""
        self._stop.set()
        self._thread.join(_LAST_LOOK_SECONDS)
        if self._thread.is_alive():
            self._note("the recorder did not end: what happened last was not looked at")
        if own := self._kubernetes.own:
            self.look_at_files(own.run.glob("*.log"))
        return list(self._places)

    def look_at_files(self, paths: Iterable[Path]) -> None:
        """Logs of processes that tests started. Name them before they are removed."""
        for path in paths:
            with suppress(FileNotFoundError), path.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    if self._pattern.search(line):
                        self._note(f"{path}, line {number}")

    def _work(self) -> None:
        try:
            asyncio.run(self._run())
        except Exception as error:
            self._note(f"the recorder failed, and not everything was looked at: {type(error)}")
        for log in self._logs.values():
            log.close()

    async def _run(self) -> None:
        async with KubeClient(await find_cluster(self._kubernetes.kubeconfig)) as client:
            followers = [asyncio.create_task(self._follow(client, each)) for each in _WATCHED]
            while not self._stop.is_set():
                await asyncio.sleep(_EVERY_SECONDS)
                self._look_at_pod_logs()
            for follower in followers:
                follower.cancel()
            for ended in await asyncio.gather(*followers, return_exceptions=True):
                if isinstance(ended, Exception):
                    raise ended
            for resource in _WATCHED:
                try:
                    self._look_at_list((await client.list(resource)).objects, resource)
                except KubeError as error:
                    if not error.is_not_found:  # the definitions of routes and pools may be gone
                        raise
        self._look_at_pod_logs()

    async def _follow(self, client: KubeClient, resource: Resource) -> None:
        """All states of all objects; after a gap, what is there."""
        while True:
            with suppress(KubeError):
                listing = await client.list(resource)
                self._look_at_list(listing.objects, resource)
                version = listing.resource_version
                async with client.watching(
                    resource, None, resource_version=version, seconds=600, silence=100
                ) as events:
                    async for event in events:
                        if event["type"] == "ERROR":
                            break
                        if event["type"] != "BOOKMARK":
                            self._look_at(event["object"], resource)
            await asyncio.sleep(_EVERY_SECONDS)

    def _look_at_list(self, objects: Iterable[dict[str, Any]], resource: Resource) -> None:
        for found in objects:
            self._look_at(found, resource)

    def _look_at(self, found: dict[str, Any], resource: Resource) -> None:
        self.looked_at[resource.kind] += 1
        metadata = found["metadata"]
        place = f"{resource.kind} {metadata.get('namespace')}/{metadata['name']}"
        if resource is SECRETS:
            # On somebody else's cluster others make Secrets, too.
            mine = self._kubernetes.is_own and metadata["uid"] not in self._before
            if mine and found.get("type") not in _NOT_VALUES:
                for key, value in (found.get("data") or {}).items():
                    decoded = b64decode(value)
                    if self._mark not in decoded and decoded != _PLACEHOLDER:
                        self._note(f"{place}: {key} is not made by planted()")
            return
        if resource is PODS:
            self._pods.add(metadata["uid"])
        if resource in (PODS, DEPLOYMENTS) and not _is_ours(metadata):
            return
        if self._pattern.search(orjson.dumps(found)):
            for path, text in _texts(found):
                if self._pattern.search(text.encode()):
                    self._note(f"{place}: {self._pattern.sub(_HIDDEN, path.encode()).decode()}")

    def _look_at_pod_logs(self) -> None:
        """What was written since the last time. Files that are kept open outlive their pods."""
        if self._kubernetes.own is None or not self._kubernetes.own.node:
            return
        # Unlike `Path.glob`, this goes on when a folder goes away meanwhile.
        for path in map(Path, glob(str(_POD_LOGS / "*/*/*.log"))):  # noqa: PTH207
            if path not in self._logs and path.parts[-3].rpartition("_")[2] in self._pods:
                with suppress(OSError):
                    self._logs[path] = path.open("rb")
        for path, log in list(self._logs.items()):
            written = log.read()
            if self._pattern.search(self._rest.get(path, b"") + written):
                self._note(str(path))
            self._rest[path] = (self._rest.get(path, b"") + written)[-_OVERLAP:]
            if not written and not path.exists():
                log.close()
                del self._logs[path], self._rest[path]

    def _note(self, place: str) -> None:
        with self._lock:
            self._places[place] = None


def spellings(mark: str) -> re.Pattern[bytes]:
    """The mark as text and within base64, wherever in three bytes it begins."""
    found = [mark.encode()]
    for before in range(3):
        encoded = b64encode(b"\0" * before + mark.encode())
        # The first and last characters also depend on what stands before and behind.
        begin, end = (0, 2, 3)[before], (len(mark) + before) * 8 // 6
        found.append(encoded[begin:end])
    return re.compile(b"|".join(re.escape(each) for each in found))


def _is_ours(metadata: dict[str, Any]) -> bool:
    """Simulated providers have their key in their arguments; what the project brings must not."""
    return (metadata.get("labels") or {}).get("app.kubernetes.io/name") in _OURS


def _texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """All texts of an object, keys as well, with where they stand."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield f"a key of {path}", key
            yield from _texts(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, f"{path}[{index}]")
    elif isinstance(value, str):
        yield path, value
