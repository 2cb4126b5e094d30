"""What is kept of a pair, and who is asked about it."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest

from modelrouter.api.router_config import MirrorConfig
from modelrouter.router.accesslog.record import RequestRecord
from modelrouter.router.mirroring import comparing
from modelrouter.router.mirroring.comparing import (
    Compared,
    Comparer,
    Outcome,
    Texts,
    Verdict,
    compare,
)
from modelrouter.router.mirroring.evaluating import question, read_verdict
from modelrouter.router.mirroring.figures import Figures
from modelrouter.router.mirroring.pairs import Answered, Asked, Pair
from modelrouter.router.mirroring.report import Comparison, document, text

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECRET = "the planted words"


def answered(content: str, status: int = 200) -> Answered:
    body = {"choices": [{"message": {"content": content}}]} if status == 200 else {"error": {}}
    return Answered(status, "application/json", json.dumps(body).encode())


def pair(original: str = "yes it is", copy: str = "yes it is", *, evaluates: bool = False) -> Pair:
    body = json.dumps({"messages": [{"role": "user", "content": SECRET}]}).encode()
    records = {
        name: RequestRecord("id-1", "chat", "", pool, 1, 200, ms, ms, 1, 2)
        for name, pool, ms in (("original", "a", 100.0), ("copy", "b", 250.0))
    }
    return Pair(
        "id-1",
        0.0,
        0,
        Asked("chat", "b", evaluates, "/v1/chat/completions", body),
        answered(original),
        answered(copy),
        records["original"],
        records["copy"],
    )


@pytest.mark.parametrize(
    ("one", "outcome"),
    [
        (pair(), Outcome.AGREED),
        (pair(copy="no"), Outcome.DISAGREED),
        (pair("no it is"), Outcome.AGREED),
        (pair("x", "y"), Outcome.DISAGREED),
    ],
)
def test_what_a_pair_comes_to(one: Pair, outcome: Outcome) -> None:
    assert compare(one, NOON)[0].outcome is outcome


@pytest.mark.parametrize(
    ("statuses", "outcome"),
    [
        ((200, 500), Outcome.COPY_FAILED),
        ((500, 200), Outcome.ORIGINAL_FAILED),
        ((500, 429), Outcome.BOTH_FAILED),
    ],
)
def test_failures_are_told_apart(statuses: tuple[int, int], outcome: Outcome) -> None:
    one = pair()
    assert one.asked
    assert one.original_record
    assert one.copy_record
    one.original, one.copy = (answered("yes", status) for status in statuses)
    one.original_record = one.original_record._replace(status=statuses[0])
    one.copy_record = one.copy_record._replace(status=statuses[1])
    compared, _ = compare(one, NOON)
    assert (compared.outcome, compared.agreement) == (outcome, None)


def test_no_text_is_kept() -> None:
    compared, _ = compare(pair("planted yes", "planted no"), NOON)
    assert "planted" not in repr(compared)
    assert compared.prompt_characters == len(SECRET)
    assert (compared.original.latency_ms, compared.copy.latency_ms) == (100.0, 250.0)


async def judged(one: Pair, verdict: Verdict | None) -> tuple[list[Compared], list[Texts]]:
    kept: list[Compared] = []
    shown: list[Texts] = []

    async def evaluate(_: Compared, texts: Texts) -> Verdict | None:
        shown.append(texts)
        return verdict

    comparer = Comparer(kept.append, evaluate)
    running = asyncio.create_task(comparer.run())
    comparer.offer(one)
    while not kept:
        await asyncio.sleep(0.01)
    running.cancel()
    return kept, shown


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [
        (Verdict.SAME, Outcome.AGREED),
        (Verdict.COPY, Outcome.DISAGREED),
        (Verdict.ORIGINAL, Outcome.DISAGREED),
        (Verdict.UNCLEAR, Outcome.DISAGREED),
        (None, Outcome.DISAGREED),
    ],
)
async def test_the_evaluator_has_the_last_word(verdict: Verdict | None, outcome: Outcome) -> None:
    (kept,), shown = await judged(pair(copy="no", evaluates=True), verdict)
    assert (kept.outcome, kept.verdict) == (outcome, verdict)
    assert len(shown) == 1


@pytest.mark.parametrize("one", [pair(evaluates=True), pair(copy="no")], ids=["equal", "not asked"])
async def test_nobody_is_asked_without_need(one: Pair) -> None:
    _, shown = await judged(one, Verdict.SAME)
    assert not shown


async def test_more_pairs_than_there_is_time_for_are_counted() -> None:
    async def evaluate(*_: object) -> None: ...

    comparer = Comparer(lambda _: None, evaluate)
    for _ in range(comparing.MOST_QUEUED + 3):
        comparer.offer(pair())
    assert comparer.dropped == 3


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ("FIRST", Verdict.ORIGINAL),
        ("second.", Verdict.COPY),
        ("Same", Verdict.SAME),
        ("FIRST or SECOND", Verdict.UNCLEAR),
        ("", Verdict.UNCLEAR),
    ],
)
def test_what_the_evaluator_says(swapped: bool, said: str, verdict: Verdict) -> None:
    swap = {Verdict.ORIGINAL: Verdict.COPY, Verdict.COPY: Verdict.ORIGINAL}
    wanted = swap.get(verdict, verdict) if swapped else verdict
    answer = json.dumps({"choices": [{"message": {"content": said}}]}).encode()
    assert read_verdict(answer, swapped=swapped) is wanted


@pytest.mark.parametrize(
    "answer", [b"", b"{}", b"[]", b'{"choices": [{"message": {"content": null}}]}']
)
def test_what_it_does_not_say(answer: bytes) -> None:
    assert read_verdict(answer, swapped=False) is Verdict.UNCLEAR


@pytest.mark.parametrize("swapped", [False, True])
def test_the_question_does_not_tell_which_is_which(swapped: bool) -> None:
    _, texts = compare(pair("ONE " * 10_000, "OTHER " * 10_000), NOON)
    asked = json.loads(question(texts, swapped=swapped, characters=100))["messages"][1]["content"]
    assert SECRET in asked
    assert (asked.index("ONE") > asked.index("OTHER")) == swapped
    assert len(asked) < 500
    assert not [word for word in ("original", "copy", "mirror") if word in asked.lower()]


def test_the_report_names_the_newest_disagreements_first() -> None:
    comparison = Comparison()
    for number in range(150):
        one = pair(copy="no")
        one.request_id = f"id-{number}"
        comparison.add(compare(one, NOON)[0])
    comparison.add(compare(pair(), NOON)[0])
    mirror = MirrorConfig(pool="b", compare=True, evaluator="c")
    report = document("chat", mirror, Figures(), Figures(), comparison)
    assert report["pairs"]["compared"] == 151
    assert report["pairs"]["disagreed"] == 150
    names = [each["requestId"] for each in report["disagreements"]]
    assert names == [f"id-{number}" for number in range(149, 49, -1)]
    shown = text(report)
    assert "151 compared, 1 agree, 150 disagree" in shown
    assert "evaluator c: 0 original" in shown
    assert "id-149" in shown
