"""Which bodies are feedback, and what is said about those that are not."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from modelrouter.policy.refusal import Refusal
from modelrouter.router.feedback.reading import Feedback, read_feedback
from modelrouter.router.records.rating import Rating

GOOD = {"request_id": "a", "score": 0.5}


def read(value: object) -> Feedback | Refusal:
    return read_feedback(orjson.dumps(value))


def test_feedback() -> None:
    assert read(GOOD) == Feedback("a", Rating(0.5))
    full = {**GOOD, "score": 1, "label": "thumb.up", "comment": "Yes!"}
    assert read(full) == Feedback("a", Rating(1.0, "thumb.up", "Yes!"))
    assert read({**GOOD, "label": None, "comment": None}) == Feedback("a", Rating(0.5))
    feedback = read(full)
    assert isinstance(feedback, Feedback)
    assert read(feedback.document()) == feedback, "as routers tell each other"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"request_id": None}, "request_id"),
        ({"request_id": ""}, "request_id"),
        ({"request_id": 7}, "request_id"),
        ({"request_id": "x" * 257}, "request_id"),
        ({"score": None}, "score"),
        ({"score": "1"}, "score"),
        ({"score": True}, "score"),
        ({"score": -0.01}, "score"),
        ({"score": 1.01}, "score"),
        ({"label": "two words"}, "label"),
        ({"label": "x" * 64}, "label"),
        ({"label": 7}, "label"),
        ({"comment": "x" * 1001}, "comment"),
        ({"comment": ["x"]}, "comment"),
        ({"user": "me"}, "user"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], field: str) -> None:
    refusal = read({**GOOD, **change})
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.param, refusal.code) == (400, field, "invalid_feedback")
    assert refusal.message.startswith(f"`{field}` ")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"a"', b"\xff", b'{"score": NaN}'])
def test_what_is_no_object(body: bytes) -> None:
    refusal = read_feedback(body)
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.code) == (400, "invalid_json")
