"""Parts of a pair come in any order; what never becomes whole does not stay."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from modelrouter.router.accesslog.record import RequestRecord
from modelrouter.router.mirroring import pairs as module
from modelrouter.router.mirroring.pairs import Pair, PairStore


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def record(request_id: str = "r", pool: str = "a") -> RequestRecord:
    return RequestRecord(request_id, "chat", "", pool, 1, 200, 5.0, 2.0, 3, 4)


def parts(store: PairStore, request_id: str = "r", size: int = 2) -> dict[str, Any]:
    head = {"x-request-id": request_id, "x-mr-status": "200", "content-type": "application/json"}
    mirror = {"x-mr-mirror-route": "chat", "x-mr-mirror-pool": "b", "x-mr-mirror-how": "sce"}
    body = b"{" + b" " * (size - 2) + b"}"
    return {
        "prompt": lambda: store.take("/prompt", {**head, **mirror}, body),
        "original": lambda: store.take("/original", dict(head), body),
        "mirror": lambda: store.take("/mirror", dict(head), body),
        "line": lambda: store.note(record(request_id)),
        "copy's line": lambda: store.note(record(request_id, "b"), copy=True),
    }


@pytest.mark.parametrize("order", list(itertools.permutations(range(5))), ids=str)
def test_parts_come_in_any_order(order: tuple[int, ...]) -> None:
    ready: list[Pair] = []
    store = PairStore(ready.append)
    give = list(parts(store).values())
    for place in order:
        assert not ready
        give[place]()
    (pair,) = ready
    assert pair.asked is not None
    assert (pair.asked.route, pair.asked.pool, pair.asked.evaluates) == ("chat", "b", True)
    assert pair.copy_record is not None
    assert pair.copy_record.pool == "b"
    assert store.incomplete == 0


def test_answers_are_accepted_without_a_body() -> None:
    assert parts(PairStore(print))["prompt"]().startswith(b"HTTP/1.1 204 ")


def test_a_pair_that_is_never_whole_goes() -> None:
    clock = Clock()
    store = PairStore(print, clock)
    parts(store, "gone")["prompt"]()
    clock.now += module.LONGEST_WAIT_SECONDS + 1
    parts(store, "next")["prompt"]()
    assert store.incomplete == 1


def test_texts_have_only_so_much_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    store = PairStore(print)
    for number in range(10):
        parts(store, f"r{number}", 400)["prompt"]()
    assert store.incomplete == 8


def test_lines_of_requests_that_are_not_compared_do_not_pile_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_EARLY", 3)
    ready: list[Pair] = []
    store = PairStore(ready.append)
    for number in range(10):
        store.note(record(f"r{number}"))
    for name in ("r0", "r9"):
        for part, give in parts(store, name).items():
            if part != "line":
                give()
    assert [pair.request_id for pair in ready] == ["r9"]
