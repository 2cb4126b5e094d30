"""Kubernetes Events: one for each transition that a person wants to know of, never a repeat."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

log = structlog.get_logger(__name__)

CONTROLLER = "modelrouter.dev/operator"
_MOST_WAITING = 5_000
_LONGEST_NOTE = 1024
"""Bytes that the API takes."""


@dataclass(frozen=True, slots=True)
class Regarding:
    """The object that an Event is about."""

    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str


def event_object(
    about: Regarding, type_: str, reason: str, message: str, now: datetime, instance: str
) -> dict[str, Any]:
    """An Event as events.k8s.io/v1 has it."""
    note = message.encode()[:_LONGEST_NOTE].decode(errors="ignore")
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": f"{about.name[:200]}.{random.getrandbits(64):016x}",
            "namespace": about.namespace,
        },
        "eventTime": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": CONTROLLER,
        "reportingInstance": instance[:128],
        "action": "Reconcile",
        "reason": reason,
        "type": type_,
        "note": note,
        "regarding": {
            "apiVersion": "modelrouter.dev/v1alpha1",
            "kind": about.kind,
            "namespace": about.namespace,
            "name": about.name,
            "uid": about.uid,
            "resourceVersion": about.resource_version,
        },
    }


class EventPoster:
    """Posts Events in the background; statuses never wait for them.

    An Event is a courtesy: when there are too many, or the API server refuses one, it is dropped
    and counted, because the status says the same.
    """

    def __init__(
        self,
        create: Callable[[Mapping[str, Any]], Awaitable[None]],
        instance: str,
        count: Callable[[str], None],
    ) -> None:
        self._create = create
        self._instance = instance
        self._count = count
        self._waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_MOST_WAITING)

    def post(self, about: Regarding, type_: str, reason: str, message: str) -> None:
        """Have an Event posted."""
        event = event_object(about, type_, reason, message, datetime.now(UTC), self._instance)
        try:
            self._waiting.put_nowait(event)
        except asyncio.QueueFull:
            self._count("dropped")

    async def run(self) -> None:
        """Post until cancelled."""
        while True:
            event = await self._waiting.get()
            try:
                await self._create(event)
            except Exception as error:
                self._count("failed")
                log.warning("an Event was not posted", reason=event["reason"], error=str(error))
            else:
                self._count("posted")
