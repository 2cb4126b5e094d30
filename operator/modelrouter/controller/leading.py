"""Taking, keeping and giving back the Lease; and work that is done only while it is held."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import structlog

from modelrouter.controller.election import (
    Claim,
    LeaseRecord,
    Rhythm,
    Standing,
    next_claim,
    observe,
    resign,
    succeed,
)
from modelrouter.kube.client import KubeClient
from modelrouter.kube.errors import KubeError
from modelrouter.kube.resources import LEASES, Object

log = structlog.get_logger(__name__)


class NotLeadingError(Exception):
    """A write was asked for that only the leader may make."""


def steady_clock() -> float:
    """Seconds that also pass while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Leadership:
    """Whether this process leads. While it does, `lead` runs; it is cancelled when that ends."""

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        name: str,
        identity: str,
        rhythm: Rhythm,
        clock: Callable[[], float] = steady_clock,
    ) -> None:
        self._client = client
        self._namespace, self._name = namespace, name
        self._clock = clock
        self._standing = Standing(identity, rhythm)
        self._lease: Object | None = None
        self.last_step = clock()
        """When this candidate last tried to do what the Lease asks for, with or without success."""

    @property
    def leads(self) -> bool:
        """Whether writes are allowed now."""
        return self._standing.leads(self._clock())

    @property
    def holder(self) -> str:
        """Who holds the Lease, as far as is known; empty: nobody."""
        record = self._standing.record
        return record.holder if record is not None else ""

    def time_to_write(self) -> float:
        """Seconds in which a write that begins now must have ended.

        Raises `NotLeadingError`. This is the fence: every write asks here just before it is sent,
        and ends before a successor may begin.
        """
        now, rhythm = self._clock(), self._standing.rhythm
        if not self._standing.leads(now):
            raise NotLeadingError("this operator does not lead (any more)")
        spare = rhythm.lease_duration - rhythm.renew_deadline
        return self._standing.writes_until + spare - now

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Stand for election until cancelled; run `lead` during each term."""
        rhythm = self._standing.rhythm
        term: asyncio.Task[None] | None = None
        try:
            while True:
                began = self.last_step = self._clock()
                await self._try_to_lead()
                if self.leads and term is None:
                    log.info("this operator leads", lease=self._name)
                    term = asyncio.create_task(_as_task(lead))
                pause = max(0.05, began + rhythm.retry_period - self._clock())
                if term is None:
                    await asyncio.sleep(pause)
                    continue
                until = min(pause, max(0.0, self._standing.writes_until - self._clock()))
                await asyncio.wait([term], timeout=until)
                if term.done() or not self.leads:
                    await self._end(term)
                    term = None
        finally:
            if term is not None:
                await self._end(term)
            await self._give_back()

    async def _end(self, term: asyncio.Task[None]) -> None:
        """Stop writing first, then stop working."""
        failed = term.done() and not term.cancelled() and term.exception() is not None
        lost = not self.leads
        self._standing = resign(self._standing)
        term.cancel()
        await asyncio.wait([term])
        if failed:
            # What else uses this process may be broken too; a new one starts from the cluster.
            term.result()
        if lost:
            log.warning("this operator leads no more: it could not renew the Lease")

    async def _try_to_lead(self) -> None:
        rhythm = self._standing.rhythm
        limit = rhythm.renew_deadline / 2 if self.leads else rhythm.renew_deadline
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                try:
                    await self._step()
                except KubeError as error:
                    if error.is_conflict:
                        # Somebody else wrote, or one's own renewal did arrive: look again.
                        self._lease = None
                        return
                    log.warning("the Lease cannot be renewed or read", reason=str(error))

    async def _step(self) -> None:
        claim = next_claim(self._standing, self._clock())
        if self._lease is None or claim is not Claim.RENEW:
            await self._look()
            claim = next_claim(self._standing, self._clock())
        if claim is Claim.WAIT:
            return
        asked = self._clock()
        wanted = self._wanted(claim)
        if claim is Claim.CREATE:
            self._lease = await self._client.create(LEASES, wanted)
        else:
            self._lease = await self._client.replace(LEASES, wanted)
        self._standing = succeed(self._standing, read_lease(self._lease), asked)

    async def _look(self) -> None:
        try:
            self._lease = await self._client.get(LEASES, self._name, self._namespace)
        except KubeError as error:
            if not error.is_not_found:
                raise
            self._lease = None
        record = read_lease(self._lease) if self._lease is not None else None
        self._standing = observe(self._standing, record, self._clock())

    def _wanted(self, claim: Claim) -> Object:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        known = self._standing.record or LeaseRecord("", "")
        rhythm = self._standing.rhythm
        taken = claim is not Claim.RENEW
        metadata: dict[str, Any] = {"name": self._name, "namespace": self._namespace}
        if self._lease is not None and claim is not Claim.CREATE:
            metadata = self._lease["metadata"]
        spec = {
            "holderIdentity": self._standing.identity,
            "leaseDurationSeconds": max(1, round(rhythm.lease_duration)),
            "acquireTime": now if taken else known.acquired or now,
            "renewTime": now,
            "leaseTransitions": known.transitions + (1 if claim is Claim.TAKE else 0),
        }
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": metadata,
            "spec": spec,
        }

    async def _give_back(self) -> None:
        """Let a successor begin at once. Nothing has been written since the term ended."""
        record = self._standing.record
        if self._lease is None or record is None or record.holder != self._standing.identity:
            return
        wanted = self._wanted(Claim.RENEW)
        wanted["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
        self._standing = replace(self._standing, record=None)
        with suppress(KubeError, TimeoutError):
            async with asyncio.timeout(2):
                await self._client.replace(LEASES, wanted)
                log.info("the Lease is given back", lease=self._name)


def read_lease(lease: Object) -> LeaseRecord:
    """What a Lease says."""
    spec = lease.get("spec") or {}
    return LeaseRecord(
        holder=spec.get("holderIdentity") or "",
        version=lease["metadata"]["resourceVersion"],
        duration=float(spec.get("leaseDurationSeconds") or 0),
        transitions=int(spec.get("leaseTransitions") or 0),
        acquired=spec.get("acquireTime") or "",
    )


async def _as_task(lead: Callable[[], Awaitable[None]]) -> None:
    await lead()
