"""The body of `POST /v1/feedback`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from modelrouter.policy.refusal import Refusal, quoted
from modelrouter.router.records.rating import Rating

MOST_BYTES = 16 * 1024
"""Of a body."""
LONGEST_ID = 256
LONGEST_COMMENT = 1000
"""In characters."""
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_FIELDS = ("request_id", "score", "label", "comment")


class Feedback(NamedTuple):
    """A rating and the request that it is about."""

    request_id: str
    rating: Rating

    def document(self) -> dict[str, Any]:
        """The body that says this."""
        return {"request_id": self.request_id, **self.rating._asdict()}


def read_feedback(body: bytes) -> Feedback | Refusal:
    """A body as clients send it, or why it is none; the refusal names the field."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        content = None
    if not isinstance(content, dict):
        return Refusal(400, "The body is not a JSON object.", code="invalid_json")
    for name in content:
        if name not in _FIELDS:
            known = ", ".join(_FIELDS)
            return _wrong(quoted(name), f"is not a field of feedback; there are {known}")
    request_id = content.get("request_id")
    if not isinstance(request_id, str) or not 0 < len(request_id) <= LONGEST_ID:
        what = f"must be the x-request-id of an answer, a text of 1 to {LONGEST_ID} characters"
        return _wrong("request_id", what)
    score = content.get("score")
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        return _wrong("score", "must be a number from 0 to 1")
    return _rated(request_id, float(score), content)


def _rated(request_id: str, score: float, content: Mapping[str, object]) -> Feedback | Refusal:
    # Programs that have nothing to say often write null or an empty text.
    label, comment = content.get("label") or "", content.get("comment") or ""
    if not isinstance(label, str) or (label and not _LABEL.fullmatch(label)):
        what = "must be a short name: up to 63 letters, digits, '.', '_' or '-'"
        return _wrong("label", what)
    if not isinstance(comment, str) or len(comment) > LONGEST_COMMENT:
        return _wrong("comment", f"must be a text of at most {LONGEST_COMMENT} characters")
    return Feedback(request_id, Rating(score, label, comment))


def _wrong(field: str, what: str) -> Refusal:
    return Refusal(400, f"`{field}` {what}.", param=field, code="invalid_feedback")
