"""The state of one type of resource on one stream: what is due, under way, held and refused."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from modelrouter.router.discovery.resources import Resource

Serial = int
"""Number of an update. Each due name carries that of the oldest update that waits for it."""

UNVERSIONED: Serial = 0
"""Serial of a change that belongs to no version, such as an endpoint that came or went."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A resource that Envoy refused. Envoy keeps the last good version of it, if it had one."""

    kind: str
    name: str
    version: str
    message: str
    serial: Serial = field(default=UNVERSIONED, repr=False)


@dataclass(slots=True)
class Flight:
    """A push that Envoy has not answered yet."""

    kind: str
    resources: Mapping[str, Resource]
    serials: Mapping[str, Serial]
    removed: tuple[str, ...]
    sent_at: float


@dataclass(slots=True)
class Lane:
    """The state of one type of resource on this stream."""

    opened: bool = False
    wildcard: bool = False
    subscribed: set[str] = field(default_factory=set)
    due: dict[str, Serial] = field(default_factory=dict)
    forced: set[str] = field(default_factory=set)
    absent: dict[str, None] = field(default_factory=dict)
    halves: deque[dict[str, Serial]] = field(default_factory=deque)
    burst: int = 0
    flights: dict[str, Flight] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    """Version that Envoy holds, by name."""
    rejected: dict[str, Rejection] = field(default_factory=dict)
    leaving: dict[str, float] = field(default_factory=dict)
    """Names to take away, and not before when."""
    waiting: Counter[Serial] = field(default_factory=Counter)
    """How many names of each update are due or unanswered."""

    def asked_for(self, name: str) -> bool:
        return self.opened and (self.wildcard or name in self.subscribed)

    def expect(self, name: str, serial: Serial) -> None:
        """Note that `name` is due; an older update that waits for it keeps waiting."""
        if (former := self.due.pop(name, None)) is not None:
            self.settle(former)
            serial = older(former, serial)
        if (refused := self.rejected.pop(name, None)) is not None:
            serial = older(refused.serial, serial)
        self.due[name] = serial
        self.waiting[serial] += 1

    def forget(self, name: str) -> None:
        """`name` is no longer due."""
        if (serial := self.due.pop(name, None)) is not None:
            self.settle(serial)
        self.forced.discard(name)
        self.rejected.pop(name, None)

    def settle(self, serial: Serial) -> None:
        self.waiting[serial] -= 1
        if not self.waiting[serial]:
            del self.waiting[serial]

    @property
    def making(self) -> bool:
        """Whether an update (not merely an endpoint) waits for this type."""
        return any(serial != UNVERSIONED for serial in self.waiting)


def older(one: Serial, other: Serial) -> Serial:
    """The older of two serials, where any update is older than no update."""
    if one == UNVERSIONED or other == UNVERSIONED:
        return max(one, other)
    return min(one, other)
