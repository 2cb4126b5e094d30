"""Two operators: one writes at any time, and the other takes over."""

from __future__ import annotations

import signal
import time
from datetime import datetime
from typing import Any

import pytest

from cluster.control_plane.controller.operators import Installation, Operator
from cluster.control_plane.controller.resources import Resources
from cluster.control_plane.controller.waiting import eventually
from cluster.kubernetes.access import Kubernetes
from component.router.manifests import route

TAKE_OVER_SECONDS = 20.0


@pytest.fixture
def both(kubernetes: Kubernetes, installation: Installation) -> tuple[Operator, Operator]:
    """A leader and a standby."""
    if not kubernetes.is_own:
        pytest.skip("not on somebody else's cluster: this reads the audit log")
    leader = installation.operator("first").lead()
    standby = installation.operator("second")
    assert not standby.leads
    return leader, standby


def write_time(installation: Installation, name: str) -> float:
    """When the first status of a route was written: seconds since the epoch; 0: not yet."""
    for event in installation.writes():
        reference = event["objectRef"]
        if reference.get("subresource") == "status" and reference["name"] == name:
            return datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()
    return 0.0


def test_the_standby_writes_soon_after_the_leader_was_killed(
    both: tuple[Operator, Operator], installation: Installation, resources: Resources
) -> None:
    leader, standby = both
    resources.apply(route("before", pools=["none"]))
    resources.expect("mroute", "before", Ready=("False", "PoolNotFound"))
    leader.kill()
    killed = time.time()
    resources.apply(route("after", pools=["none"]))
    resources.expect("mroute", "after", within=60, Ready=("False", "PoolNotFound"))
    assert write_time(installation, "after") - killed < TAKE_OVER_SECONDS
    assert standby.leads


def test_a_leader_that_ends_in_order_hands_over_at_once(
    both: tuple[Operator, Operator], installation: Installation, resources: Resources
) -> None:
    leader, standby = both
    assert leader.stop() == 0
    stopped = time.time()
    resources.apply(route("after", pools=["none"]))
    resources.expect("mroute", "after", within=60, Ready=("False", "PoolNotFound"))
    # One period of the standby's, not a whole lease.
    assert write_time(installation, "after") - stopped < 10
    assert standby.leads


def test_a_leader_that_was_frozen_past_its_lease_writes_no_more_when_it_wakes(
    both: tuple[Operator, Operator], installation: Installation, resources: Resources
) -> None:
    first, second = both
    resources.apply(route("before", pools=["none"]))
    resources.expect("mroute", "before", Ready=("False", "PoolNotFound"))
    first.signal(signal.SIGSTOP)
    second.lead()
    resources.apply(route("during", pools=["none"]))
    resources.expect("mroute", "during", within=60, Ready=("False", "PoolNotFound"))
    first.signal(signal.SIGCONT)
    woken = time.time()
    for number in range(10):
        resources.apply(route(f"later-{number}", pools=["none"]))
    for number in range(10):
        resources.expect("mroute", f"later-{number}", Ready=("False", "PoolNotFound"))
    eventually(lambda: first.readiness().get("ready") and not first.leads)
    assert second.leads
    late = [event for event in written_by(installation, first) if at(event) > woken]
    assert late == []
    assert_one_writer_at_a_time(installation, first, second)


def test_many_handovers_with_writes_under_way(
    both: tuple[Operator, Operator], installation: Installation, resources: Resources
) -> None:
    """Routes are applied without a pause while the leader is frozen and woken again and again."""
    first, second = both
    number = 0
    for round_ in range(2):
        leader, other = (first, second) if first.leads else (second, first)
        for _ in range(20):
            resources.apply(route(f"route-{number}", pools=["none"]))
            number += 1
        leader.signal(signal.SIGSTOP)
        for _ in range(10):
            resources.apply(route(f"route-{number}", pools=["none"]))
            number += 1
        other.lead()
        leader.signal(signal.SIGCONT)
        eventually(lambda leader=leader: not leader.leads, within=30)
        assert round_ >= 0
    for each in range(number):
        resources.expect("mroute", f"route-{each}", Ready=("False", "PoolNotFound"), within=60)
    assert_one_writer_at_a_time(installation, first, second)


def at(event: dict[str, Any]) -> float:
    """When the API server took a request."""
    return datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()


def written_by(installation: Installation, operator: Operator) -> list[dict[str, Any]]:
    """The writes of one of several operators, which share an account but not a user agent."""
    return [e for e in installation.writes() if operator.identity in e.get("userAgent", "")]


def assert_one_writer_at_a_time(installation: Installation, *operators: Operator) -> None:
    """The writes of several operators do not interleave: each has its turns, one after another."""
    turns: list[str] = []
    spans: dict[int, tuple[float, float]] = {}
    for event in sorted(installation.writes(), key=at):
        agent = event.get("userAgent", "")
        (who,) = (o.identity for o in operators if o.identity in agent)
        if not turns or turns[-1] != who:
            turns.append(who)
            spans[len(turns)] = (at(event), at(event))
        first, _ = spans[len(turns)]
        spans[len(turns)] = (first, at(event))
    holders = [
        (at(event), event["userAgent"])
        for event in installation.kubernetes.writes(installation.user)
        if event["objectRef"].get("resource") == "leases"
        and event["verb"] == "update"
        and event["responseStatus"]["code"] == 200
    ]
    # Each turn lies after a renewal of its own and before the first one of the next.
    for turn, (begin, end) in spans.items():
        who = turns[turn - 1]
        foreign = [when for when, agent in holders if begin < when < end and who not in agent]
        assert foreign == [], f"{who} wrote while another held the Lease"
