"""Following the objects of one kind, through everything that may happen to the API server.

The protocol is Kubernetes' own list and watch: a list shows the state at a version, a watch from
that version tells each change after it. A watch that ends goes on where it was; one that is told
that its version is too old (410) begins with a new list.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog

from modelrouter.kube.client import KubeClient
from modelrouter.kube.errors import NO_ANSWER, KubeError
from modelrouter.kube.resources import Object, Resource

log = structlog.get_logger(__name__)

WATCH_SECONDS = (240, 300)
"""The server is asked to end a watch after a time between these."""

SILENCE_SECONDS = 100.0
"""API servers send a bookmark every minute: a watch silent for longer hangs on a dead connection,
or on a server without bookmarks, where beginning it again costs one request."""

KEEPING_PLACE = (NO_ANSWER, 429, 503)
"""Failures after which a watch goes on where it was. Any other may be about the place itself, as
with a server that was set back to an older copy of its data and waits for versions to come."""

SHORTEST_WATCH_SECONDS = 1.0
FIRST_BACKOFF_SECONDS = 0.1
LONGEST_BACKOFF_SECONDS = 5.0
LONGEST_RETRY_AFTER_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Synced:
    """All objects that there are now: the first thing of all, and again after a gap."""

    objects: tuple[Object, ...]


@dataclass(frozen=True, slots=True)
class Updated:
    """An object was created or changed."""

    object: Object


@dataclass(frozen=True, slots=True)
class Deleted:
    """An object was deleted, or no longer matches the selectors. Its last state."""

    object: Object


Change = Synced | Updated | Deleted


@dataclass(slots=True)
class WatchHealth:
    """How a watch is doing, for metrics and for people."""

    resource: str
    connected: bool = False
    """A list has succeeded and no failure since."""
    synced: bool = False
    """A list has succeeded once."""
    lists: int = 0
    failures: int = 0
    changes: int = 0
    problem: str = ""
    """The last failure, empty while connected."""


class _Backoff:
    """Growing, jittered pauses between attempts that fail in a row."""

    def __init__(self) -> None:
        self._next = FIRST_BACKOFF_SECONDS

    def reset(self) -> None:
        self._next = FIRST_BACKOFF_SECONDS

    def pause(self, retry_after: float | None) -> float:
        """Seconds to wait; at least what the server asked for."""
        grown = self._next * random.uniform(0.5, 1.0)
        self._next = min(self._next * 2, LONGEST_BACKOFF_SECONDS)
        if retry_after is None:
            return grown
        return max(grown, min(retry_after, LONGEST_RETRY_AFTER_SECONDS) + random.uniform(0, 0.5))


async def watch_objects(
    client: KubeClient,
    resource: Resource,
    namespace: str | None = None,
    *,
    label_selector: str | None = None,
    field_selector: str | None = None,
    health: WatchHealth | None = None,
    silence_seconds: float = SILENCE_SECONDS,
) -> AsyncIterator[Change]:
    """Every change of the objects of a namespace, or of all namespaces, in order.

    It never ends and raises nothing but `CancelledError`; failures are logged, seen in `health`,
    and tried again: after 0.1 s at first, later every 5 s, or when the server says. Consumers
    replace all they know on each `Synced`.
    """
    health = health or WatchHealth(resource.plural)
    backoff = _Backoff()
    version: str | None = None
    while True:
        try:
            if version is None:
                listing = await client.list(
                    resource,
                    namespace,
                    label_selector=label_selector,
                    field_selector=field_selector,
                )
                version = listing.resource_version
                health.lists += 1
                health.synced = True
                _note_contact(health)
                yield Synced(listing.objects)
            async with client.watching(
                resource,
                namespace,
                resource_version=version,
                label_selector=label_selector,
                field_selector=field_selector,
                seconds=random.randint(*WATCH_SECONDS),
                silence=silence_seconds,
            ) as events:
                began = time.monotonic()
                _note_contact(health)
                async for event in events:
                    kind, found = event["type"], event["object"]
                    if kind == "ERROR":
                        version = None
                        raise _error_event(resource, found)
                    version = found["metadata"]["resourceVersion"]
                    backoff.reset()
                    _note_contact(health)
                    if kind == "BOOKMARK":
                        continue
                    health.changes += 1
                    yield Deleted(found) if kind == "DELETED" else Updated(found)
            if time.monotonic() - began < SHORTEST_WATCH_SECONDS:
                await asyncio.sleep(backoff.pause(None))  # it would ask without a break
        except KubeError as error:
            if error.reason == "Timeout" and health.connected and version is not None:
                # Silence. What is wrong, if anything is, shows when it is begun again.
                health.connected = False
                continue
            health.connected = False
            health.failures += 1
            health.problem = str(error)
            if error.status not in KEEPING_PLACE:
                version = None
            seconds = backoff.pause(error.retry_after)
            _report(resource, namespace, error, seconds)
            await asyncio.sleep(seconds)


def _note_contact(health: WatchHealth) -> None:
    health.connected = True
    health.problem = ""


def _error_event(resource: Resource, status: Object) -> KubeError:
    """The error that came within a watch, as a `Status` object."""
    return KubeError(
        f"watch {resource.path()}",
        int(status.get("code") or 500),
        str(status.get("reason") or "Unknown"),
        str(status.get("message") or "the watch was ended with an error"),
        (status.get("details") or {}).get("retryAfterSeconds"),
    )


def _report(resource: Resource, namespace: str | None, error: KubeError, seconds: float) -> None:
    place = {"resource": resource.plural, "namespace": namespace or "all"}
    if error.is_expired:
        log.info("watch is too old; listing anew", **place)
    elif error.is_forbidden:
        log.error(
            "watch is not allowed; the Role must grant list and watch",
            reason=error.message,
            retry_seconds=round(seconds, 1),
            **place,
        )
    else:
        log.warning("watch failed", reason=str(error), retry_seconds=round(seconds, 1), **place)
