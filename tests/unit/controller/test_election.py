"""The rules of the Lease, and a simulation of candidates with clocks and networks of their own."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

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

RHYTHM = Rhythm(lease_duration=15, renew_deadline=10, retry_period=2)


def standing(identity: str = "me") -> Standing:
    return Standing(identity, RHYTHM)


def test_without_a_lease_one_is_made() -> None:
    assert next_claim(observe(standing(), None, now=5), now=5) is Claim.CREATE


def test_a_lease_of_another_is_left_alone_until_it_has_not_changed_for_its_duration() -> None:
    seen = observe(standing(), LeaseRecord("other", "7", duration=15), now=100)
    assert next_claim(seen, now=114.9) is Claim.WAIT
    assert next_claim(seen, now=115) is Claim.TAKE


def test_each_renewal_by_another_begins_the_wait_anew() -> None:
    seen = observe(standing(), LeaseRecord("other", "7", duration=15), now=100)
    seen = observe(seen, LeaseRecord("other", "8", duration=15), now=114)
    assert next_claim(seen, now=120) is Claim.WAIT
    assert next_claim(seen, now=129) is Claim.TAKE


def test_the_holder_says_how_long_its_lease_lasts() -> None:
    seen = observe(standing(), LeaseRecord("other", "7", duration=60), now=100)
    assert next_claim(seen, now=120) is Claim.WAIT
    assert next_claim(seen, now=160) is Claim.TAKE


def test_a_lease_given_back_is_taken_at_once() -> None:
    seen = observe(standing(), LeaseRecord("", "7", duration=1), now=100)
    assert next_claim(seen, now=100) is Claim.TAKE


def test_the_leader_writes_until_the_deadline_counted_from_its_question() -> None:
    leader = succeed(standing(), LeaseRecord("me", "8"), asked=50)
    assert leader.leads(59.9)
    assert not leader.leads(60)
    assert next_claim(leader, now=52) is Claim.RENEW


def test_a_leader_that_sees_another_in_the_lease_stops_at_once() -> None:
    leader = succeed(standing(), LeaseRecord("me", "8"), asked=50)
    assert not observe(leader, LeaseRecord("other", "9"), now=51).leads(51)
    assert not observe(leader, None, now=51).leads(51)
    assert not resign(leader).leads(50)


def test_having_one_s_name_in_the_lease_is_not_enough_to_write() -> None:
    """A process that starts anew under its old name first renews."""
    seen = observe(standing(), LeaseRecord("me", "8"), now=50)
    assert not seen.leads(50)
    assert next_claim(seen, now=50) is Claim.RENEW


@dataclass
class Server:
    """The Lease in the API server: a write needs the version that the writer has read."""

    record: LeaseRecord | None = None
    writes: int = 0

    def write(self, holder: str, version: str) -> LeaseRecord | None:
        if version != (self.record.version if self.record else ""):
            return None
        self.writes += 1
        self.record = LeaseRecord(holder, str(self.writes), duration=RHYTHM.lease_duration)
        return self.record


@dataclass
class Candidate:
    """One process: it asks, and gets answers late or never; its clock started at any time."""

    standing: Standing
    offset: float
    asked: float = 0.0
    pending: list[tuple[float, float, LeaseRecord | None]] = field(default_factory=list)


Step = st.tuples(
    st.integers(0, 2),  # who acts
    st.floats(0.1, 6.0),  # time since the step before
    st.sampled_from(["ask", "ask", "ask", "answer lost", "request lost"]),
    st.floats(0.0, 4.0),  # how long the answer takes
)


@settings(max_examples=300, deadline=None)
@given(st.lists(Step, min_size=5, max_size=80), st.tuples(*[st.floats(0, 1e6)] * 3))
def test_two_never_write_at_once(
    steps: list[tuple[int, float, str, float]], offsets: tuple[float, float, float]
) -> None:
    server = Server()
    candidates = [
        Candidate(Standing(str(number), RHYTHM), offset) for number, offset in enumerate(offsets)
    ]
    now = 0.0
    for who, pause, fate, delay in steps:
        now += pause
        for other in candidates:
            arrived = [answer for answer in other.pending if answer[0] <= now]
            other.pending = [answer for answer in other.pending if answer[0] > now]
            for at, asked, record in arrived:
                if record is not None and record.holder == other.standing.identity:
                    other.standing = succeed(other.standing, record, asked + other.offset)
                else:
                    other.standing = observe(other.standing, record, at + other.offset)
        me = candidates[who]
        local = now + me.offset
        if fate == "request lost":
            continue
        me.standing = observe(me.standing, server.record, local)
        if next_claim(me.standing, local) is not Claim.WAIT:
            known = me.standing.record
            granted = server.write(me.standing.identity, known.version if known else "")
            if granted is not None and fate == "ask":
                me.pending.append((now + delay, now, granted))
        writers = [c for c in candidates if c.standing.leads(now + c.offset)]
        assert len(writers) <= 1
