"""Which requests leave a record, for how long, and what is added to it."""

from __future__ import annotations

import asyncio

import pytest

from modelrouter.router.accesslog.record import RequestRecord
from modelrouter.router.records import keeping
from modelrouter.router.records.keeping import DecisionRecords
from modelrouter.router.records.rating import Rating


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def ended(request_id: str, pool: str = "llama", route: str = "chat") -> RequestRecord:
    reason = "rule:default; canary; gpt full"
    return RequestRecord(request_id, route, reason, pool, 2, 200, 90.0, 30.0, 7, 11)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def records(clock: Clock) -> DecisionRecords:
    return DecisionRecords(clock)


def test_what_is_kept(records: DecisionRecords, clock: Clock) -> None:
    records.add(ended("a"))
    clock.now += 2.5
    assert records.view("a") == {
        "request_id": "a",
        "route": "chat",
        "rule": "default",
        "arm": "canary",
        "reason": "rule:default; canary; gpt full",
        "pool": "llama",
        "attempts": 2,
        "status": 200,
        "duration_ms": 90.0,
        "first_byte_ms": 30.0,
        "prompt_tokens": 7,
        "completion_tokens": 11,
        "seconds_ago": 2.5,
        "feedback": None,
    }
    assert records.view("b") is None


@pytest.mark.parametrize("record", [ended("a", pool=""), ended("a", route="")])
def test_what_no_pool_has_answered_leaves_none(
    records: DecisionRecords, record: RequestRecord
) -> None:
    records.add(record)
    assert records.find("a") is None
    assert len(records) == 0


def test_records_are_forgotten_after_an_hour(records: DecisionRecords, clock: Clock) -> None:
    records.add(ended("first"))
    records.rate("first", Rating(1.0))
    for minute in range(59):
        clock.now += 60
        records.add(ended(f"at {minute}"))
    assert records.find("first")
    clock.now += 61
    assert records.find("first") is None
    assert records.rating_of("first") is None
    assert not records.rate("first", Rating(1.0))
    assert records.find("at 0")
    for minute in range(60):
        clock.now += 60
        records.add(ended(f"later {minute}"))
    assert len(records) == 60, "what is too old takes no room"


def test_no_more_are_kept_than_may_be(clock: Clock) -> None:
    records = DecisionRecords(clock, most=1000)
    for number in range(5000):
        records.add(ended(str(number)))
        assert len(records) <= 1020
    assert all(records.find(str(number)) for number in range(4000, 5000))
    assert records.find("3900") is None


def test_the_first_rating_counts(records: DecisionRecords) -> None:
    records.add(ended("a"))
    assert records.rate("a", Rating(0.25, "thumb", "So so."))
    assert not records.rate("a", Rating(1.0))
    view = records.view("a")
    assert view
    assert view["feedback"] == {"score": 0.25, "label": "thumb", "comment": "So so."}
    assert not records.rate("b", Rating(1.0))


def test_of_requests_with_one_id_the_newest_counts(records: DecisionRecords, clock: Clock) -> None:
    for seconds in (0, 1, 600):
        clock.now += seconds
        records.add(ended("a", pool=f"pool-{seconds}"))
        found = records.find("a")
        assert found
        assert found.pool == f"pool-{seconds}"
        assert records.rate("a", Rating(0.5)), "it has no rating of its own"


def test_only_so_many_comments_are_kept(
    records: DecisionRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "MOST_COMMENTS", 2)
    for name in "abc":
        records.add(ended(name))
        records.rate(name, Rating(0.5, "", f"Comment {name}"))
    comments = [rating.comment for name in "abc" if (rating := records.rating_of(name))]
    assert comments == ["", "Comment b", "Comment c"]


async def test_a_record_may_be_on_its_way(records: DecisionRecords) -> None:
    awaited = [asyncio.create_task(records.find_soon("a", 10.0)) for _ in range(2)]
    await asyncio.sleep(0)
    records.add(ended("b"))
    records.add(ended("a"))
    assert [found.request_id for task in awaited if (found := await task)] == ["a", "a"]
    assert await records.find_soon("nobody's", 0.01) is None
