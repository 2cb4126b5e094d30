"""Who may write: the rules of a Lease, as pure functions.

The protocol is that of client-go's leader election, so that people who know `--leader-elect` find
what they expect. Two times keep two leaders apart, whatever the clocks of two machines say:

- A leader may write until `renew_deadline` after it *asked for* its last successful renewal.
- A candidate takes the Lease when it has seen it unchanged for `lease_duration`.

The candidate cannot have seen the renewal before the leader asked for it, so between the end of
one leader's writing and the other's beginning lie at least `lease_duration - renew_deadline`
seconds, in which requests that are under way run out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum


@dataclass(frozen=True, slots=True)
class Rhythm:
    """The times of an election, in seconds."""

    lease_duration: float = 15.0
    """A Lease that did not change for so long may be taken."""
    renew_deadline: float = 10.0
    """How long a leader goes on writing without having been able to renew."""
    retry_period: float = 2.0
    """Pause between two attempts to take or renew the Lease."""


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """What a Lease says."""

    holder: str
    """Identity of the leader; empty: given back."""
    version: str
    """The object's resourceVersion: it changes with every renewal."""
    duration: float = 0.0
    """The holder's own `lease_duration`, in seconds; 0: not said."""
    transitions: int = 0
    """How often the Lease has changed hands."""
    acquired: str = ""
    """When the holder took it, as the API writes times."""


class Claim(Enum):
    """What to do with the Lease now."""

    WAIT = "wait"
    CREATE = "create"
    TAKE = "take"
    RENEW = "renew"


@dataclass(frozen=True, slots=True)
class Standing:
    """What one candidate knows. Times are seconds of its own monotonic clock."""

    identity: str
    rhythm: Rhythm
    record: LeaseRecord | None = None
    """The Lease as it was last seen; None: there is none."""
    seen_since: float = 0.0
    """Since when it has been seen so."""
    writes_until: float = float("-inf")
    """Until when this candidate may write."""

    def leads(self, now: float) -> bool:
        """Whether this candidate may write."""
        return now < self.writes_until


def observe(standing: Standing, record: LeaseRecord | None, now: float) -> Standing:
    """The Lease was read. One that another holds ends one's own leadership at once."""
    since = standing.seen_since if record == standing.record else now
    until = standing.writes_until
    if record is None or record.holder != standing.identity:
        until = float("-inf")
    return replace(standing, record=record, seen_since=since, writes_until=until)


def next_claim(standing: Standing, now: float) -> Claim:
    """What to do, given what is known."""
    record = standing.record
    if record is None:
        return Claim.CREATE
    if record.holder == standing.identity:
        return Claim.RENEW
    patience = record.duration or standing.rhythm.lease_duration
    if not record.holder or now >= standing.seen_since + patience:
        return Claim.TAKE
    return Claim.WAIT


def succeed(standing: Standing, record: LeaseRecord, asked: float) -> Standing:
    """A claim that was sent at `asked` was granted."""
    until = asked + standing.rhythm.renew_deadline
    return replace(standing, record=record, seen_since=asked, writes_until=until)


def resign(standing: Standing) -> Standing:
    """Stop writing, whatever the Lease says."""
    return replace(standing, writes_until=float("-inf"))
