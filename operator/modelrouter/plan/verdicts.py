"""What a condition says, and the condition that it becomes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Truth = Literal["True", "False", "Unknown"]

ACCEPTED, RESOLVED_REFS, PROGRAMMED, READY = "Accepted", "ResolvedRefs", "Programmed", "Ready"
"""Types of conditions."""

PENDING = "Pending"
"""Reason of what cannot be known yet."""

LONGEST_MESSAGE = 4096
"""Far below what the API takes, and more than anybody reads."""
_MOST_LISTED = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether something holds, why in one word, and why in a sentence that says what to do."""

    status: Truth
    reason: str
    message: str

    @property
    def holds(self) -> bool:
        """Whether it is known to be true."""
        return self.status == "True"


def yes(reason: str, message: str) -> Verdict:
    """It holds."""
    return Verdict("True", reason, message)


def no(reason: str, message: str) -> Verdict:
    """It does not hold."""
    return Verdict("False", reason, message)


def unknown(reason: str, message: str) -> Verdict:
    """Nobody knows."""
    return Verdict("Unknown", reason, message)


def listed(texts: Sequence[str], separator: str = "; ") -> str:
    """The first few of several texts, and how many more there are."""
    shown = separator.join(texts[:_MOST_LISTED])
    more = len(texts) - _MOST_LISTED
    return f"{shown}{separator}and {more} more" if more > 0 else shown


def conditions(
    verdicts: Mapping[str, Verdict], generation: int, old: Iterable[Any], now: str
) -> list[dict[str, Any]]:
    """The conditions of a status. The time of a transition stays as long as the status does."""
    before = {c.get("type"): c for c in old if isinstance(c, Mapping)}
    return [
        {
            "type": kind,
            "status": verdict.status,
            "observedGeneration": generation,
            "lastTransitionTime": _since(before.get(kind), verdict, now),
            "reason": verdict.reason,
            "message": verdict.message[:LONGEST_MESSAGE],
        }
        for kind, verdict in verdicts.items()
    ]


def _since(before: Mapping[str, Any] | None, verdict: Verdict, now: str) -> str:
    if before is not None and before.get("status") == verdict.status:
        since = before.get("lastTransitionTime")
        if isinstance(since, str) and since:
            return since
    return now
