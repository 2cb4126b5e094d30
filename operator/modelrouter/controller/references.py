"""What pools refer to: Secrets by name, and the Services and EndpointSlices of their namespaces.

Only what some pool names is watched. Of a Secret nothing is kept but which keys it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from modelrouter.api.manifests import Key
from modelrouter.api.operator_config import OperatorConfig
from modelrouter.controller.endpoints import (
    SERVICE_LABEL,
    service_facts,
    service_of,
    trim_service,
    trim_slice,
)
from modelrouter.controller.snapshot import Snapshot
from modelrouter.controller.store import Object, ObjectStore, key_of
from modelrouter.kube.client import KubeClient
from modelrouter.kube.resources import ENDPOINT_SLICES, SECRETS, SERVICES
from modelrouter.kube.watching import Deleted, Synced, watch_objects
from modelrouter.plan.facts import NamespaceFacts, SecretFacts, SecretState, ServiceFacts

_FORBIDDEN = SecretFacts(SecretState.FORBIDDEN)
_MISSING = SecretFacts(SecretState.MISSING)


class References:
    """Watches what the pools of the snapshot refer to."""

    def __init__(self, client: KubeClient, config: OperatorConfig, snapshot: Snapshot) -> None:
        self._client = client
        self._config = config
        self._snapshot = snapshot
        self._tasks: dict[tuple[str, Key], asyncio.Task[None]] = {}
        self._secrets: dict[str, dict[str, SecretFacts]] = {}
        self._services: dict[str, _NamespaceServices] = {}

    def facts(self, namespace: str) -> NamespaceFacts | None:
        """What is known about a namespace; None while its Services are not known yet."""
        services = self._services.get(namespace)
        if services is not None and not services.complete:
            return None
        return NamespaceFacts(
            secrets=self._secrets.get(namespace, {}),
            services=services.facts if services is not None else {},
        )

    def follow(self) -> None:
        """The pools may refer to something else now."""
        wanted = self._wanted()
        for watch in self._tasks.keys() - wanted.keys():
            self._tasks.pop(watch).cancel()
            kind, (namespace, name) = watch
            if kind == "secret":
                self._secrets.get(namespace, {}).pop(name, None)
            elif kind == "services":
                self._services.pop(namespace, None)
        for watch in wanted.keys() - self._tasks.keys():
            kind, (namespace, _) = watch
            if kind == "services":
                self._services[namespace] = _NamespaceServices()
            self._tasks[watch] = asyncio.create_task(wanted[watch]())

    def stop(self) -> None:
        """End all watches."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    @property
    def watches(self) -> int:
        """How many watches are open."""
        return len(self._tasks)

    def _wanted(self) -> dict[tuple[str, Key], _Start]:
        wanted: dict[tuple[str, Key], _Start] = {}
        for key in self._snapshot.by_secret:
            wanted["secret", key] = _Start(self._watch_secret, key)
        for namespace in {key[0] for key in self._snapshot.by_service}:
            wanted["services", (namespace, "")] = _Start(self._watch_services, (namespace, ""))
            wanted["slices", (namespace, "")] = _Start(self._watch_slices, (namespace, ""))
        return wanted

    async def _watch_secret(self, key: Key) -> None:
        namespace, name = key
        if not self._config.may_read(name):
            self._note_secret(key, _FORBIDDEN)
            return
        field_selector = f"metadata.name={name}"
        async for change in watch_objects(
            self._client, SECRETS, namespace, field_selector=field_selector
        ):
            if isinstance(change, Synced):
                facts = _secret_facts(change.objects[0]) if change.objects else _MISSING
            elif isinstance(change, Deleted):
                facts = _MISSING
            else:
                facts = _secret_facts(change.object)
            self._note_secret(key, facts)

    def _note_secret(self, key: Key, facts: SecretFacts) -> None:
        known = self._secrets.setdefault(key[0], {})
        if known.get(key[1]) != facts:
            known[key[1]] = facts
            self._snapshot.secret_changed(key)

    async def _watch_services(self, key: Key) -> None:
        services = self._in(key[0])
        async for change in watch_objects(self._client, SERVICES, key[0]):
            if isinstance(change, Synced):
                services.services.replace(change.objects, key[0])
                services.knows_services = True
                self._note_all(key[0])
            elif isinstance(change, Deleted):
                services.services.remove(change.object)
                self._note_service(key_of(change.object))
            elif services.services.put(change.object):
                self._note_service(key_of(change.object))

    async def _watch_slices(self, key: Key) -> None:
        services = self._in(key[0])
        async for change in watch_objects(
            self._client, ENDPOINT_SLICES, key[0], label_selector=SERVICE_LABEL
        ):
            if isinstance(change, Synced):
                services.slices.replace(change.objects, key[0])
                services.knows_slices = True
                self._note_all(key[0])
                continue
            if isinstance(change, Deleted):
                services.slices.remove(change.object)
            else:
                services.slices.put(change.object)
            self._note_service((key[0], service_of(change.object)))

    def _in(self, namespace: str) -> _NamespaceServices:
        # A watch that has just been cancelled may find its namespace gone.
        return self._services.get(namespace) or _NamespaceServices()

    def _note_all(self, namespace: str) -> None:
        services = self._in(namespace)
        if not services.complete:
            return
        services.facts.clear()
        for service in services.services:
            self._note_service(key_of(service))
        for key in list(self._snapshot.by_service):
            if key[0] == namespace:
                self._snapshot.service_changed(key)

    def _note_service(self, key: Key) -> None:
        services = self._in(key[0])
        if not services.complete:
            return
        service, before = services.services.get(key), services.facts.get(key[1])
        if service is None:
            services.facts.pop(key[1], None)
            after = None
        else:
            mine = [s for s in services.slices if service_of(s) == key[1]]
            after = services.facts[key[1]] = service_facts(service, mine)
        if before != after:
            self._snapshot.service_changed(key)


class _NamespaceServices:
    """Services and EndpointSlices of one namespace."""

    def __init__(self) -> None:
        self.services = ObjectStore(trim_service)
        self.slices = ObjectStore(trim_slice)
        self.knows_services = self.knows_slices = False
        self.facts: dict[str, ServiceFacts] = {}

    @property
    def complete(self) -> bool:
        return self.knows_services and self.knows_slices


class _Start:
    """A watch that can be started."""

    def __init__(self, watch: Any, key: Key) -> None:
        self._watch, self._key = watch, key

    def __call__(self) -> Coroutine[Any, Any, None]:
        coroutine: Coroutine[Any, Any, None] = self._watch(self._key)
        return coroutine


def _secret_facts(secret: Object) -> SecretFacts:
    return SecretFacts(SecretState.PRESENT, frozenset(secret.get("data") or {}))
