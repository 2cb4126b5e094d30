"""Feedback joins the record of its request, the figures of a canary's arms, and the metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from modelrouter.router.feedback.reading import Feedback
from modelrouter.router.records.keeping import DecisionRecord, DecisionRecords

MOST_LABELS = 50
"""Of a route in the metrics: clients choose them, and each is a time series."""
OTHER_LABELS = "other"


class Joined(Enum):
    """What became of feedback."""

    NEW = "new"
    REPLAY = "replay"
    """The request has feedback already; this one is ignored."""
    UNKNOWN = "unknown"
    """There is no record of the request here."""


@dataclass(slots=True)
class Scores:
    """Ratings of one route and pool."""

    count: int = 0
    total: float = 0.0


class FeedbackLedger:
    """Joins feedback with records and keeps the totals."""

    def __init__(
        self, records: DecisionRecords, measure: Callable[[DecisionRecord, float], None]
    ) -> None:
        """`measure` is told of every new score and the request that it is about."""
        self._records = records
        self._measure = measure
        self._labels: dict[str, set[str]] = {}
        self.scores: dict[tuple[str, str], Scores] = {}
        """By route and pool."""
        self.labels: dict[tuple[str, str, str], int] = {}
        """Ratings by route, pool and label."""
        self.unknown = 0
        """Feedback on requests that no router knows."""

    def join(self, feedback: Feedback) -> Joined:
        """Take feedback on a request that this router may know."""
        record = self._records.find(feedback.request_id)
        return Joined.UNKNOWN if record is None else self._take(record, feedback)

    async def join_soon(self, feedback: Feedback, seconds: float) -> Joined:
        """The same; the request's record may be on its way for so long."""
        record = await self._records.find_soon(feedback.request_id, seconds)
        return Joined.UNKNOWN if record is None else self._take(record, feedback)

    def _take(self, record: DecisionRecord, feedback: Feedback) -> Joined:
        rating = feedback.rating
        if not self._records.rate(record.request_id, rating):
            return Joined.REPLAY
        scores = self.scores.setdefault((record.route, record.pool), Scores())
        scores.count += 1
        scores.total += rating.score
        key = (record.route, record.pool, self._counted(record.route, rating.label))
        self.labels[key] = self.labels.get(key, 0) + 1
        self._measure(record, rating.score)
        return Joined.NEW

    def _counted(self, route: str, label: str) -> str:
        known = self._labels.setdefault(route, set())
        if label and label not in known:
            if len(known) >= MOST_LABELS:
                return OTHER_LABELS
            known.add(label)
        return label
