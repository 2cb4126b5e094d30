"""Buckets of figures, and which of them a window has."""

from __future__ import annotations

from modelrouter.router.measuring.timeline import Timeline, total


def requests(timeline: Timeline, now: float, window: float) -> int:
    return total(timeline.since(now - 3600), now - window).canary.requests


def test_a_window_has_nothing_from_before_it() -> None:
    timeline = Timeline()
    for moment in (100.9, 101.0, 101.5, 130.2):
        timeline.at(moment).canary.succeed(5.0, None)
    assert requests(timeline, 130.9, 30) == 3
    assert requests(timeline, 131.1, 30) == 1, "the second 101 began before"
    assert requests(timeline, 131.1, 31) == 3
    assert requests(timeline, 131.1, 1) == 0
    assert requests(timeline, 131.1, 3600) == 4


def test_older_figures_are_kept_by_ten_seconds_for_an_hour() -> None:
    timeline = Timeline()
    for second in range(10_000, 10_000 + 3 * 3600):
        timeline.at(second + 0.5).canary.succeed(5.0, None)
    now = 10_000.0 + 3 * 3600
    assert 3590 <= requests(timeline, now, 3600) <= 3600
    assert requests(timeline, now, 60) == 60
    assert requests(timeline, now, 120) == 120
    assert requests(timeline, now, 605) == 600, "not a part of ten seconds"
    assert len(timeline.since(0)) <= 120 + 10 + 360 + 1


def test_gaps_cost_nothing_and_lose_nothing() -> None:
    timeline = Timeline()
    timeline.at(7.0).stable.succeed(5.0, None)
    timeline.at(3000.0).stable.succeed(5.0, None)
    timeline.at(3001.0).stable.fail("rescued")
    assert len(timeline.since(0)) == 3
    assert total(timeline.since(0), 0).stable.requests == 3
    assert requests(timeline, 3602.0, 3600) == 0


def test_what_was_told_does_not_change() -> None:
    timeline = Timeline()
    timeline.at(10.0).canary.succeed(5.0, 2.0)
    spans = timeline.since(0)
    timeline.at(10.1).canary.succeed(5.0, 2.0)
    assert total(spans, 0).canary.requests == 1
    assert total(timeline.since(0), 0).canary.requests == 2
