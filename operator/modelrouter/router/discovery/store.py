"""What Envoy should have, and what the connected Envoys say about it.

A `Store` belongs to one event loop and is not safe for threads.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from modelrouter.router.discovery.lane import UNVERSIONED, Rejection, Serial
from modelrouter.router.discovery.ledger import Ledger, Pacing
from modelrouter.router.discovery.resources import (
    CLUSTER,
    ENDPOINTS,
    Resource,
    ResourceSet,
    empty_catalog,
    replace,
)

log = logging.getLogger(__name__)

REMEMBERED_VERSIONS = 1000
"""Versions that can still be asked about; nobody waits for one that is a thousand updates old."""

REMEMBERED_REJECTIONS = 100


@dataclass(eq=False, slots=True)
class Session:
    """One connected Envoy."""

    ledger: Ledger
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class Store:
    """The wanted configuration, and the acknowledged one.

    A version is acknowledged when a connected Envoy has accepted everything that it adds or
    changes. What it no longer has is taken away afterwards and does not hold it up.
    """

    def __init__(self, pacing: Pacing | None = None) -> None:
        self._pacing = pacing or Pacing()
        self._catalog = empty_catalog()
        self._serial: Serial = UNVERSIONED
        self._serials: dict[str, Serial] = {}
        self._versions: dict[Serial, str] = {}
        self._sessions: set[Session] = set()
        self._ready = asyncio.Event()
        self._callbacks: list[Callable[[str], None]] = []
        self._acknowledged: Serial = UNVERSIONED
        self._settled: Serial = UNVERSIONED
        self._clusters: frozenset[str] | None = None
        self._last_clusters: frozenset[str] = frozenset()
        self._refused: deque[Rejection] = deque(maxlen=REMEMBERED_REJECTIONS)
        self._waiters: set[asyncio.Event] = set()

    # What Envoy should have

    def update(self, resources: ResourceSet, version: str) -> None:
        """Make `resources` the whole of what every Envoy should have, under the name `version`.

        Costs one comparison of bytes for each resource; sending happens later, in slices.
        """
        changes = replace(self._catalog, resources)
        if version != self.version or changes or not self._serial:
            self._serial += 1
            self._remember(version)
        now = time.monotonic()
        for session in self._sessions:
            session.ledger.update(changes, self._serial, now)
            session.wake.set()
        self._ready.set()
        if changes:
            self._clusters = None
        self.note_progress()

    def _remember(self, version: str) -> None:
        self._serials[version] = self._serial
        self._versions[self._serial] = version
        while len(self._versions) > REMEMBERED_VERSIONS:
            serial = next(iter(self._versions))
            oldest = self._versions.pop(serial)
            # The same version may have been given again later, with other content.
            if self._serials[oldest] == serial:
                del self._serials[oldest]

    def update_endpoints(self, cluster: str, body: bytes) -> None:
        """Replace the endpoints of one cluster, whatever else there is. It belongs to no version.

        The next `update` has to carry these endpoints too, or it takes them back.
        """
        known = self._catalog[ENDPOINTS].get(cluster)
        if known is not None and known.body == body:
            return
        self._catalog[ENDPOINTS][cluster] = Resource(body)
        for session in self._sessions:
            session.ledger.mark(ENDPOINTS, (cluster,), UNVERSIONED)
            session.wake.set()

    def endpoints_of(self, cluster: str) -> bytes | None:
        """The endpoints of a cluster as Envoy gets them now."""
        known = self._catalog[ENDPOINTS].get(cluster)
        return known.body if known is not None else None

    @property
    def version(self) -> str | None:
        """The version of the newest update."""
        return self._versions.get(self._serial)

    # What Envoy has

    @property
    def acknowledged_version(self) -> str | None:
        """The newest version that a connected Envoy has accepted entirely."""
        return self._versions.get(self._acknowledged)

    @property
    def settled_version(self) -> str | None:
        """The newest version that a connected Envoy has answered entirely.

        It differs from the acknowledged one while `rejections` is not empty.
        """
        return self._versions.get(self._settled)

    @property
    def acknowledged_clusters(self) -> frozenset[str]:
        """Clusters that may be named in a decision: wanted, and accepted by every Envoy.

        A cluster that is about to be taken away is left out from the moment of the update. When
        no Envoy is connected the last known ones stay: an Envoy that lost its stream still has
        them, and a new one opens its listener only after it has asked here.
        """
        if self._clusters is None:
            self._clusters = self._common_clusters()
        return self._clusters

    def _common_clusters(self) -> frozenset[str]:
        held = [s.ledger.holds(CLUSTER) for s in self._sessions if s.ledger.listening]
        if not held:
            wanted = self._catalog[CLUSTER]
            return frozenset(name for name in self._last_clusters if name in wanted)
        clusters = frozenset(held[0]).intersection(*held[1:])
        self._last_clusters = clusters
        return clusters

    @property
    def rejections(self) -> tuple[Rejection, ...]:
        """What the connected Envoys refuse at present."""
        found = {
            (rejection.kind, rejection.name): rejection
            for session in self._sessions
            for rejection in session.ledger.rejections
        }
        return tuple(found.values())

    @property
    def rejection_history(self) -> tuple[Rejection, ...]:
        """The last rejections, oldest first, also those that were overcome."""
        return tuple(self._refused)

    async def acknowledged(self, version: str, timeout: float | None = None) -> bool:
        """Wait until `version` or a newer one is acknowledged.

        False when that did not happen in time, or as soon as Envoy has refused a part of it.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        changed = asyncio.Event()
        self._waiters.add(changed)
        try:
            while True:
                serial = self._serials.get(version)
                if serial is not None and self._acknowledged >= serial:
                    return True
                if serial is not None and self._settled >= serial and self.rejections:
                    return False
                changed.clear()
                remaining = None if deadline is None else deadline - time.monotonic()
                try:
                    await asyncio.wait_for(changed.wait(), remaining)
                except TimeoutError:
                    return False
        finally:
            self._waiters.discard(changed)

    def on_acknowledged(self, callback: Callable[[str], None]) -> None:
        """Call `callback` with each version when it becomes the acknowledged one."""
        self._callbacks.append(callback)

    # For the server

    async def ready(self) -> None:
        """Wait for the first update: an empty answer before it would take everything away from
        an Envoy that outlived its agent."""
        await self._ready.wait()

    def connect(self) -> Session:
        """A new Envoy, of which nothing is known."""
        session = Session(Ledger(self._catalog, self._serial, self._pacing))
        self._sessions.add(session)
        return session

    def disconnect(self, session: Session) -> None:
        """An Envoy is gone."""
        if self._clusters is None:
            self._clusters = self._common_clusters()
        self._last_clusters = self._clusters
        self._sessions.discard(session)
        self._clusters = None
        self.note_progress()

    def hash_ahead(self, kind: str, start: int, count: int) -> bool:
        """Compute some versions of one type; whether there are more. A slice of hashing."""
        resources = list(self._catalog.get(kind, {}).values())[start : start + count]
        for resource in resources:
            _ = resource.version
        return len(resources) == count

    def note_answer(self, rejection: Rejection | None, kind: str) -> None:
        """Envoy answered a push."""
        if rejection is not None:
            log.warning(
                "Envoy refused %s %r, and keeps its last good version: %s",
                rejection.kind.rpartition(".")[2],
                rejection.name,
                rejection.message,
            )
            self._refused.append(rejection)
        if kind == CLUSTER:
            self._clusters = None
        self.note_progress()

    def note_progress(self) -> None:
        """Work out what is acknowledged now, and tell who wants to know."""
        before, ledgers = (self._acknowledged, self._settled), [s.ledger for s in self._sessions]
        self._settled = max((ledger.settled for ledger in ledgers), default=UNVERSIONED)
        self._acknowledged = max((ledger.acknowledged for ledger in ledgers), default=UNVERSIONED)
        if before == (self._acknowledged, self._settled):
            return
        for waiter in self._waiters:
            waiter.set()
        version = self.acknowledged_version
        newer = self._acknowledged > before[0]
        if version is None or not newer or version == self._versions.get(before[0]):
            return
        for callback in self._callbacks:
            try:
                callback(version)
            except Exception:
                log.exception("A callback for acknowledged version %r failed", version)
