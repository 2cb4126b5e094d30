"""Which versions of a router's configuration hold the present generation of a route."""

from __future__ import annotations

from modelrouter.controller.versions import VersionHistory
from modelrouter.plan.shards import version

ONE = {"pool.p": "p1", "route.a": "a1", "route.b": "b1"}


def changed(**entries: str) -> dict[str, str]:
    return {**ONE, **{f"route.{name}": text for name, text in entries.items()}}


def written(history: VersionHistory, before: dict[str, str], after: dict[str, str]) -> str:
    history.expect(after, before)
    result = history.begin(before, after)
    history.finish(now=1.0)
    history.settle()
    return result


def test_versions_are_those_that_routers_compute() -> None:
    history = VersionHistory()
    assert history.restart(ONE, now=0) == version(ONE)
    two = changed(a="a2")
    assert written(history, ONE, two) == version(two)


def test_what_is_there_when_a_leader_begins_needs_no_new_acknowledgement() -> None:
    history = VersionHistory()
    first = history.restart(ONE, now=0)
    history.expect(ONE, ONE)
    history.settle()
    assert not history.behind("route.a", first)


def test_what_others_wrote_has_time_to_arrive_from_the_first_look_on() -> None:
    """A pod may still be on its way to what the leader before wrote last."""
    history = VersionHistory()
    history.restart(ONE, now=5)
    history.expect(ONE, ONE)
    assert history.written("route.a") == 5
    history.restart(changed(a="a2"), now=9)
    assert history.written("route.b") == 5


def test_a_changed_route_is_behind_until_its_version_is_acknowledged_others_are_not() -> None:
    history = VersionHistory()
    first = history.restart(ONE, now=0)
    history.expect(changed(a="a2"), ONE)
    assert history.pending("route.a")
    assert history.behind("route.a", first)
    second = history.begin(ONE, changed(a="a2"))
    history.finish(now=1)
    history.settle()
    assert not history.pending("route.a")
    assert history.behind("route.a", first)
    assert not history.behind("route.b", first)
    assert not history.behind("route.a", second)


def test_a_write_that_failed_leaves_the_route_pending() -> None:
    history = VersionHistory()
    first = history.restart(ONE, now=0)
    history.expect(changed(a="a2"), ONE)
    history.expect(changed(a="a2"), ONE)
    assert history.pending("route.a")
    assert history.behind("route.a", first)


def test_a_route_changed_back_is_programmed_by_whoever_never_left() -> None:
    history = VersionHistory()
    first = history.restart(ONE, now=0)
    two = changed(a="a2")
    second = written(history, ONE, two)
    third = written(history, two, ONE)
    assert third == first
    assert not history.behind("route.a", first)
    assert history.behind("route.a", second)


def test_a_router_may_answer_before_the_api_server_does() -> None:
    """Its new version is known while the write is under way: no other route is behind."""
    history = VersionHistory()
    history.restart(ONE, now=0)
    history.expect(changed(a="a2"), ONE)
    second = history.begin(ONE, changed(a="a2"))
    assert history.reach(second) > history.serial
    assert not history.behind("route.b", second)
    assert history.behind("route.a", second)
    history.finish(now=1)
    history.settle()
    assert history.reach(second) == history.serial
    assert not history.behind("route.a", second)


def test_a_write_back_that_failed_programs_nobody_who_never_left() -> None:
    history = VersionHistory()
    first = history.restart(ONE, now=0)
    two = changed(a="a2")
    second = written(history, ONE, two)
    history.expect(ONE, two)
    assert history.begin(two, ONE) == first
    history.expect(two, two)
    history.settle()
    assert history.behind("route.a", first)
    assert not history.behind("route.a", second)


def test_a_version_that_nobody_wrote_counts_for_nothing() -> None:
    history = VersionHistory()
    history.restart(ONE, now=0)
    history.expect(ONE, ONE)
    history.settle()
    assert history.behind("route.a", "0123456789abcdef")
    assert history.behind("route.a", "")
    assert history.reach(None) == -1


def test_a_newer_version_of_other_routes_counts_too() -> None:
    history = VersionHistory()
    history.restart(ONE, now=0)
    two = changed(a="a2")
    written(history, ONE, two)
    third = written(history, two, {**two, "route.b": "b2"})
    assert not history.behind("route.a", third)


def test_history_does_not_grow_without_end() -> None:
    history = VersionHistory()
    before = ONE
    history.restart(before, now=0)
    for number in range(2000):
        after = changed(a=str(number))
        written(history, before, after)
        before = after
    assert len(history._serials) <= 512
    assert len(history._written) <= 512
    assert not history.behind("route.a", version(before))
