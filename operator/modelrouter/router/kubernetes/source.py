"""A `ConfigSource` on the cluster: ConfigMaps by label, Secrets by name, EndpointSlices beside."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Collection, Iterator, Mapping

import structlog

from modelrouter.kube.client import KubeClient
from modelrouter.kube.resources import CONFIG_MAPS, SECRETS, Object
from modelrouter.kube.watching import Deleted, Synced, Updated, WatchHealth, watch_objects
from modelrouter.plan.shards import BrokenEntryError
from modelrouter.router.following import ServiceFollower
from modelrouter.router.inputs import Inputs
from modelrouter.router.kubernetes.documents import (
    Documents,
    follows_services,
    missing_pool,
    secret_names,
)
from modelrouter.router.kubernetes.slices import follow_slices

log = structlog.get_logger(__name__)

SECRET_PATIENCE_SECONDS = 5.0
"""How long a configuration waits for the keys that it names. A Secret that nobody lets the agent
read costs the pools that need it, not the others."""

ROUTER_LABEL = "modelrouter.dev/router"
COMPONENT = "app.kubernetes.io/component=router-config"


class ClusterSource:
    """Watches everything that one router needs. `run` does the work, `updates` tells of it."""

    def __init__(
        self, client: KubeClient, namespace: str, router: str, endpoints: ServiceFollower
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._selector = f"{ROUTER_LABEL}={router},{COMPONENT}"
        self._endpoints = endpoints
        self._documents = Documents(namespace, router)
        self._secrets: dict[str, Mapping[str, str]] = {}
        self._secret_tasks: dict[str, asyncio.Task[None]] = {}
        self._asked: dict[str, float] = {}
        self._config_health = WatchHealth("configmaps")
        self._slice_health = WatchHealth("endpointslices")
        self._secret_health: dict[str, WatchHealth] = {}
        self._wake = asyncio.Event()
        self._knows_slices = False
        self._problem = ""
        self._tasks: asyncio.TaskGroup | None = None

    # Watching

    async def run(self) -> None:
        """Watch, for ever."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self._follow_config())
            tasks.create_task(
                follow_slices(
                    self._client,
                    self._namespace,
                    self._endpoints.services,
                    self._report_slices,
                    self._slice_health,
                )
            )

    async def _follow_config(self) -> None:
        async for change in watch_objects(
            self._client,
            CONFIG_MAPS,
            self._namespace,
            label_selector=self._selector,
            health=self._config_health,
        ):
            if isinstance(change, Synced):
                self._documents.replace(change.objects)
            elif isinstance(change, Updated):
                self._documents.put(change.object)
            else:
                self._documents.remove(change.object)
            self._wake.set()

    def _report_slices(self, changed: Collection[str]) -> None:
        self._endpoints.report(changed)
        if not self._knows_slices:
            self._knows_slices = True
            self._wake.set()  # a configuration may have waited for the first list

    async def _follow_secret(self, name: str, health: WatchHealth) -> None:
        async for change in watch_objects(
            self._client,
            SECRETS,
            self._namespace,
            field_selector=f"metadata.name={name}",
            health=health,
        ):
            if isinstance(change, Synced):
                found = change.objects[0] if change.objects else None
            else:
                found = None if isinstance(change, Deleted) else change.object
            values = _values(found) if found is not None else {}
            if self._secrets.get(name) != values:
                self._secrets[name] = values
                log.info("keys have changed", secret=name, keys=sorted(values))
                self._wake.set()

    def _follow_secrets(self, wanted: set[str]) -> None:
        assert self._tasks is not None
        for name in self._secret_tasks.keys() - wanted:
            self._secret_tasks.pop(name).cancel()
            self._secrets.pop(name, None)
            self._secret_health.pop(name)
        for name in wanted - self._secret_tasks.keys():
            health = self._secret_health[name] = WatchHealth("secrets")
            self._asked[name] = asyncio.get_running_loop().time()
            self._secret_tasks[name] = self._tasks.create_task(self._follow_secret(name, health))

    # What has come of it

    async def updates(self) -> AsyncIterator[Inputs]:
        last: tuple[str, Mapping[str, Mapping[str, str]]] | None = None
        while True:
            patience = self._patience()
            try:
                await asyncio.wait_for(self._wake.wait(), patience)
            except TimeoutError:
                log.warning("a configuration goes on without keys that cannot be read")
            self._wake.clear()
            inputs = self._read()
            if inputs is None or inputs.document is None:
                continue
            state = (inputs.document["version"], inputs.secrets)
            if state != last:
                last = state
                yield inputs

    def _read(self) -> Inputs | None:
        """The inputs as of now; None as long as something is missing without which they would do
        harm."""
        if not self._config_health.synced:
            return None
        if self._documents.is_empty:
            self._problem = "there is no ConfigMap for this router; the operator writes it"
            return None
        try:
            document = self._documents.read()
        except BrokenEntryError as error:
            self._problem = str(error)
            log.error("configuration cannot be read; the last one stays", reason=str(error))
            return None
        if missing := missing_pool(document):
            self._problem = f"the configuration is incomplete: {missing}"
            log.info("waiting for the rest of a configuration", missing=missing)
            return None
        self._problem = ""
        self._follow_secrets(secret_names(document))
        if self._patience() is not None:
            return None
        if follows_services(document) and not self._endpoints.services.heard:
            self._problem = "the configuration waits for the endpoints of its Services"
            return None
        return Inputs(document, {name: dict(v) for name, v in self._secrets.items()})

    def _patience(self) -> float | None:
        """How much longer to wait for a Secret. None: there is nothing to wait for."""
        now = asyncio.get_running_loop().time()
        waits = [
            self._asked[name] + SECRET_PATIENCE_SECONDS - now
            for name in self._secret_tasks
            if name not in self._secrets
        ]
        return max((wait for wait in waits if wait > 0), default=None)

    def problems(self) -> list[Mapping[str, str]]:
        """What a person should know, as of now."""
        found: list[Mapping[str, str]] = []
        if self._problem:
            found.append({"source": "kubernetes", "message": self._problem})
        for resource, health in self.watches():
            if health.problem:
                place = f"{resource} in namespace {self._namespace}"
                found.append({"source": "kubernetes", "resource": place, "message": health.problem})
        return found

    def watches(self) -> Iterator[tuple[str, WatchHealth]]:
        """The health of every watch, by what it watches."""
        yield "configmaps", self._config_health
        yield "endpointslices", self._slice_health
        for name, health in sorted(self._secret_health.items()):
            yield f"secrets/{name}", health


def _values(secret: Object) -> dict[str, str]:
    """The keys that are text. A newline at the end, as editors leave it, is no part of a key."""
    values = {}
    for key, encoded in (secret.get("data") or {}).items():
        try:
            values[key] = base64.b64decode(encoded).decode().rstrip("\r\n")
        except (binascii.Error, UnicodeDecodeError):
            name = secret["metadata"]["name"]
            log.warning("a key is no text and is left out", secret=name, key=key)
    return values
