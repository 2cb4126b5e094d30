"""The highest of a figure over a window of time, remembered in little room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Mark(NamedTuple):
    """A figure, and until when it was so."""

    until: float
    figure: float


@dataclass(frozen=True, slots=True)
class Highest:
    """Figures of the past. Times are seconds of any clock, and never go back."""

    marks: tuple[Mark, ...] = ()
    """Oldest first. Each is larger than all that follow it, as no other can be the highest any
    more: so there are few, whatever the length of the window."""
    latest: float = 0.0
    """The last figure: it is so until the next one is told."""

    def then(self, figure: float, now: float, window: float) -> Highest:
        """A figure is told; what is older than the window is forgotten."""
        marks = _marked(_marked(self.marks, Mark(now, self.latest)), Mark(now, figure))
        return Highest(tuple(mark for mark in marks if mark.until > now - window), figure)

    @property
    def figure(self) -> float:
        """The highest figure of the window, as of the last one told."""
        return self.marks[0].figure if self.marks else self.latest


def _marked(marks: tuple[Mark, ...], mark: Mark) -> tuple[Mark, ...]:
    kept = len(marks)
    while kept and marks[kept - 1].figure <= mark.figure:
        kept -= 1
    return (*marks[:kept], mark)
