"""Writing to the cluster: only by the leader, only in time, and counted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from modelrouter.controller.leading import NotLeadingError
from modelrouter.controller.metrics import OperatorMetrics
from modelrouter.controller.store import Object
from modelrouter.kube.client import KubeClient
from modelrouter.kube.errors import KubeError
from modelrouter.kube.resources import EVENTS, Resource, name_of, namespace_of

Answer = TypeVar("Answer")


class Writer:
    """The one way in which objects are changed."""

    def __init__(
        self,
        client: KubeClient,
        time_to_write: Callable[[], float],
        metrics: OperatorMetrics,
        most_at_once: int = 32,
    ) -> None:
        self._client = client
        self._time_to_write = time_to_write
        self._metrics = metrics
        self._turns = asyncio.Semaphore(most_at_once)

    async def apply(self, resource: Resource, wanted: Object) -> Object:
        """Server-side apply of our fields; the object after."""
        try:
            return await self._apply(resource, wanted)
        except KubeError as error:
            if not error.is_invalid:
                raise
        # Somebody renumbered a port, say: then ours and theirs are in the list, under one name.
        # Whole lists are replaced by a merge; after it, applying makes the fields ours again.
        await self._write("merge", resource, lambda: self._client.merge(resource, dict(wanted)))
        return await self._apply(resource, wanted)

    async def _apply(self, resource: Resource, wanted: Object) -> Object:
        return await self._write(
            "apply", resource, lambda: self._client.apply(resource, dict(wanted))
        )

    async def merge(self, resource: Resource, patch: Object) -> Object:
        """Merge a patch into an object; with a `uid` in its metadata, only into that one."""
        return await self._write(
            "merge", resource, lambda: self._client.merge(resource, dict(patch))
        )

    async def apply_status(self, resource: Resource, wanted: Object) -> Object:
        """The same for a status."""
        return await self._write(
            "apply_status", resource, lambda: self._client.apply_status(resource, dict(wanted))
        )

    async def delete(self, resource: Resource, obj: Object) -> None:
        """Delete exactly this object, not one made anew under its name."""
        found = dict(obj)
        await self._write(
            "delete",
            resource,
            lambda: self._client.delete(
                resource, name_of(found), namespace_of(found), uid=found["metadata"].get("uid")
            ),
        )

    async def create_event(self, event: Object) -> None:
        """Post an Event."""
        await self._write("create", EVENTS, lambda: self._client.create(EVENTS, dict(event)))

    async def _write(
        self, verb: str, resource: Resource, write: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        result = "error"
        async with self._turns:
            try:
                # After the deadline a successor may write: a request still under way is given up.
                async with asyncio.timeout(self._time_to_write()):
                    answer = await write()
                result = "success"
                return answer
            except TimeoutError:
                raise NotLeadingError(f"{verb} of a {resource.kind} took too long") from None
            except KubeError as error:
                result = error.reason or "error"
                raise
            finally:
                self._metrics.writes.labels(resource.kind, verb, result).inc()
