"""What one Envoy has, what it was sent and what it still lacks.

A `Ledger` belongs to one stream and does no I/O: it is told what Envoy said and what changed, and
answers with the next push. It is level-triggered: names are noted as due, and a push takes the
newest content at the moment it is made, so nothing stale is ever sent and updates that come
faster than Envoy acknowledges them merge.

Order of pushes (make before break): clusters, endpoints, secrets; routes when Envoy has answered
those; and clusters are taken away when the routes that no longer name them are acknowledged.
Envoy withholds the ACK of a cluster until it has warmed, which is what makes waiting for the ACK
the right thing (`ClusterManagerImpl::updateClusterCounts`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from modelrouter.router.discovery.lane import UNVERSIONED, Flight, Lane, Rejection, Serial
from modelrouter.router.discovery.resources import (
    CLUSTER,
    ENDPOINTS,
    MAKE_ORDER,
    ROUTES,
    SECRET,
    Catalog,
    Change,
    Push,
    Resource,
)


@dataclass(frozen=True, slots=True)
class Pacing:
    """How much is sent at once, and how long one thing waits for another."""

    slice_resources: int = 200
    slice_bytes: int = 1 << 20
    ack_patience: float = 0.05
    """Updates of one type merge while a push of that type is unanswered, for at most this long.
    Envoy answers in 1 to 3 ms, except that clusters are answered only when warm."""
    route_patience: float = 2.0
    """Routes wait for clusters that warm, for at most this long: one pool whose health check
    hangs must not hold back every other change."""
    linger: float = 1.0
    """Clusters stay for this long after the last route that names them, for requests that were
    decided before and have not reached the router filter, or retry."""


class Ledger:
    """One stream's view of the catalog."""

    def __init__(self, catalog: Catalog, serial: Serial, pacing: Pacing | None = None) -> None:
        self._catalog = catalog
        self._serial = serial
        self._accepted: Serial = 0
        self._pacing = pacing or Pacing()
        self._lanes = {kind: Lane() for kind in MAKE_ORDER}
        self._nonces = itertools.count(1)
        self._remade: set[str] = set()
        self._routes_since: float | None = None
        self.wake_at: float | None = None
        """When `next_push` should be asked again although nothing happened."""
        # Envoy has these to ask for; until it does, no version can count as acknowledged.
        for kind in (CLUSTER, ROUTES):
            for name in catalog[kind]:
                self._lanes[kind].expect(name, serial)

    # What changed

    def update(self, changes: Iterable[Change], serial: Serial, now: float) -> None:
        """Note what the catalog gained, altered and lost in one update."""
        self._serial = serial
        for change in changes:
            self.mark(change.kind, change.updated, serial)
            lane = self._lanes[change.kind]
            for name in change.removed:
                lane.forget(name)
                if change.kind == CLUSTER:
                    lane.leaving[name] = now + self._pacing.linger
                elif change.kind == ENDPOINTS and self._still_needed(name):
                    lane.absent[name] = None
                # Envoy ignores the removal of a route configuration or a secret that it asked
                # for; it drops them itself, with the listener or cluster that named them.

    def _still_needed(self, endpoints: str) -> bool:
        """Whether Envoy will keep asking for these endpoints: it stops with their cluster."""
        return endpoints in self._catalog[CLUSTER] and self._lanes[ENDPOINTS].asked_for(endpoints)

    def mark(self, kind: str, names: Iterable[str], serial: Serial) -> None:
        """Note that Envoy lacks the catalog's content of `names`."""
        lane = self._lanes[kind]
        for name in names:
            lane.leaving.pop(name, None)
            lane.absent.pop(name, None)
            if kind in (CLUSTER, ROUTES) or lane.asked_for(name):
                lane.expect(name, serial)

    # What Envoy says

    def subscribe(
        self,
        kind: str,
        names: Iterable[str],
        unsubscribed: Iterable[str] = (),
        held: Mapping[str, str] | None = None,
    ) -> None:
        """Envoy asks for `names`, and holds some of them from an earlier stream."""
        lane = self._lanes.get(kind)
        if lane is None:
            return
        held = held or {}
        names = [name for name in names if name != "*"]
        if not lane.opened:
            lane.opened = True
            # An empty first subscription to clusters is the older way to write "*".
            lane.wildcard = kind == CLUSTER
            for name, version in held.items():
                self._reconnect(kind, name, version)
        for name in unsubscribed:
            lane.subscribed.discard(name)
            lane.held.pop(name, None)
            lane.absent.pop(name, None)
            if kind not in (CLUSTER, ROUTES):
                lane.forget(name)
        for name in names:
            lane.subscribed.add(name)
            resource = self._catalog[kind].get(name)
            if resource is None:
                # The answer "there are none" ends the warming of a cluster; one that is about to
                # be taken away must keep its endpoints until then.
                if kind == ENDPOINTS and name in self._catalog[CLUSTER]:
                    lane.absent[name] = None
            elif name not in held or self._lacks(kind, name, resource, held[name]):
                lane.expect(name, self._serial)
                lane.forced.add(name)

    def _reconnect(self, kind: str, name: str, version: str) -> None:
        """Envoy held `version` of `name` when its stream began."""
        lane = self._lanes[kind]
        lane.held[name] = version
        resource = self._catalog[kind].get(name)
        if resource is None:
            if kind == CLUSTER:
                lane.leaving[name] = 0.0
        elif resource.version == version:
            lane.forget(name)

    def _lacks(self, kind: str, name: str, resource: Resource, version: str) -> bool:
        """Whether Envoy needs `resource` although it says that it holds `version` of it.

        Envoy may have written a subscription before it read a cluster that this stream sent, so
        that it names endpoints as held which the new cluster, warming, lacks.
        """
        return version != resource.version or (kind == ENDPOINTS and name in self._remade)

    def acknowledge(self, nonce: str) -> None:
        """Envoy accepted a push."""
        flight = self._landed(nonce)
        if flight is None:
            return
        lane = self._lanes[flight.kind]
        for name, resource in flight.resources.items():
            lane.held[name] = resource.version
            lane.settle(flight.serials[name])
            lane.rejected.pop(name, None)
        for name in flight.removed:
            lane.held.pop(name, None)
            if flight.kind == CLUSTER:
                self._remade.discard(name)

    def reject(self, nonce: str, message: str) -> Rejection | None:
        """Envoy refused a push. One bad resource spoils a whole response, so a push of several is
        halved until the bad one stands alone; then that one is returned."""
        flight = self._landed(nonce)
        if flight is None:
            return None
        lane = self._lanes[flight.kind]
        names = list(flight.resources)
        if len(names) > 1:
            middle = len(names) // 2
            lane.forced.update(names)
            for half in (names[middle:], names[:middle]):
                lane.halves.appendleft({name: flight.serials[name] for name in half})
            return None
        for name in names:
            serial = flight.serials[name]
            version = flight.resources[name].version
            rejection = Rejection(flight.kind, name, version, message, serial)
            if name in lane.due:
                lane.expect(name, serial)
            else:
                lane.rejected[name] = rejection
            lane.settle(serial)
            return rejection
        return None

    def _landed(self, nonce: str) -> Flight | None:
        for lane in self._lanes.values():
            if (flight := lane.flights.pop(nonce, None)) is not None:
                return flight
        return None

    # What to send

    def next_push(self, now: float) -> tuple[str, Push] | None:
        """The next response with its nonce, or None when there is nothing to send before
        `wake_at` or the next event."""
        self.wake_at = None
        for kind in MAKE_ORDER:
            if kind == ROUTES and self._routes_wait(now):
                break
            if (push := self._make(kind, now)) is not None:
                return self._launch(push[0], push[1], now)
        if (gone := self._break(now)) is not None:
            return self._launch(gone, {}, now)
        return None

    def _launch(self, push: Push, serials: Mapping[str, Serial], now: float) -> tuple[str, Push]:
        nonce = str(next(self._nonces))
        flight = Flight(push.kind, push.resources, serials, push.removed, now)
        self._lanes[push.kind].flights[nonce] = flight
        if push.kind == CLUSTER:
            self._follow_with_endpoints(push, serials)
        return nonce, push

    def _follow_with_endpoints(self, push: Push, serials: Mapping[str, Serial]) -> None:
        """A cluster that changed warms for `initial_fetch_timeout` (15 s) unless its endpoints
        come again, changed or not."""
        lane = self._lanes[ENDPOINTS]
        for name in push.resources:
            self._remade.add(name)
            if not lane.asked_for(name):
                continue
            if name in self._catalog[ENDPOINTS]:
                lane.expect(name, serials[name])
                lane.forced.add(name)
            else:
                lane.absent[name] = None

    def _make(self, kind: str, now: float) -> tuple[Push, dict[str, Serial]] | None:
        """A push of what is due, as far as it may go now."""
        lane = self._lanes[kind]
        while lane.halves:
            if taken := self._take(kind, lane.halves.popleft()):
                return taken
        if not lane.opened:
            return None
        if lane.absent:
            gone = tuple(lane.absent)
            lane.absent.clear()
            return Push(kind, {}, gone), {}
        while lane.due and not self._merging(lane, now):
            limit = self._pacing.slice_resources
            ready = list(itertools.islice(filter(lane.asked_for, lane.due), limit))
            if not ready:
                break
            lane.burst = len(ready) if len(ready) < limit else max(lane.burst, len(lane.due))
            total = 0
            names: dict[str, Serial] = {}
            for name in ready:
                resource = self._catalog[kind].get(name)
                total += len(resource.body) if resource else 0
                if names and total > self._pacing.slice_bytes:
                    break
                names[name] = lane.due.pop(name)
            lane.burst -= len(names)
            if taken := self._take(kind, names):
                return taken
        return None

    def _take(self, kind: str, names: dict[str, Serial]) -> tuple[Push, dict[str, Serial]] | None:
        """The newest content of `names`, less what Envoy has and what is gone."""
        lane, catalog = self._lanes[kind], self._catalog[kind]
        resources, serials = {}, {}
        for name, serial in names.items():
            resource = catalog.get(name)
            forced = name in lane.forced
            lane.forced.discard(name)
            if resource is None or (lane.held.get(name) == resource.version and not forced):
                lane.settle(serial)
                continue
            resources[name] = resource
            serials[name] = serial
        return (Push(kind, resources), serials) if resources else None

    def _merging(self, lane: Lane, now: float) -> bool:
        """Whether to let further updates gather while Envoy is about to answer."""
        if lane.burst > 0 or not lane.flights:
            return False
        until = next(reversed(lane.flights.values())).sent_at + self._pacing.ack_patience
        return self._later(until, now)

    def _routes_wait(self, now: float) -> bool:
        """Whether routes have to wait for what they may name."""
        lane = self._lanes[ROUTES]
        if not (lane.opened and lane.due):
            self._routes_since = None
            return False
        if not any(self._lanes[kind].making for kind in (CLUSTER, ENDPOINTS, SECRET)):
            return False
        if self._routes_since is None:
            self._routes_since = now
        return self._later(self._routes_since + self._pacing.route_patience, now)

    def _break(self, now: float) -> Push | None:
        """Clusters to take away, once nothing that Envoy holds can name them."""
        lane = self._lanes[CLUSTER]
        if not (lane.leaving and lane.opened) or any(x.making for x in self._lanes.values()):
            return None
        # A refused route configuration leaves the older one in force, which may name anything.
        if self._lanes[ROUTES].rejected:
            return None
        gone = [name for name, at in lane.leaving.items() if at <= now]
        if not gone:
            self._later(min(lane.leaving.values()), now)
            return None
        for name in gone:
            del lane.leaving[name]
        return Push(CLUSTER, {}, tuple(gone))

    def _later(self, at: float, now: float) -> bool:
        """Whether `at` lies ahead; if so, ask to be woken then."""
        if at <= now:
            return False
        self.wake_at = at if self.wake_at is None else min(self.wake_at, at)
        return True

    # What is settled

    @property
    def settled(self) -> Serial:
        """The newest update that Envoy has answered entirely, be it by refusing parts."""
        if not self.listening:
            return 0
        return self._before(serial for lane in self._lanes.values() for serial in lane.waiting)

    @property
    def acknowledged(self) -> Serial:
        """The newest update that Envoy has accepted entirely."""
        refused = (r.serial for lane in self._lanes.values() for r in lane.rejected.values())
        # What was accepted stays accepted while something is sent again, as on a resubscription.
        self._accepted = max(self._accepted, min(self.settled, self._before(refused)))
        return self._accepted

    def _before(self, serials: Iterable[Serial]) -> Serial:
        oldest = min((serial for serial in serials if serial != UNVERSIONED), default=None)
        return self._serial if oldest is None else oldest - 1

    @property
    def rejections(self) -> list[Rejection]:
        """What Envoy refuses at present."""
        return [r for lane in self._lanes.values() for r in lane.rejected.values()]

    @property
    def listening(self) -> bool:
        """Whether Envoy has asked for clusters on this stream."""
        return self._lanes[CLUSTER].opened

    def holds(self, kind: str) -> Iterable[str]:
        """Names of which Envoy has some accepted version that is still wanted."""
        catalog = self._catalog[kind]
        return (name for name in self._lanes[kind].held if name in catalog)
