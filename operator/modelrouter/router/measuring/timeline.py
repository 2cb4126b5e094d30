"""Figures by time: by the second for two minutes, by ten seconds for an hour."""

from __future__ import annotations

from collections import deque

from modelrouter.router.measuring.tally import Arms

FINE_SECONDS = 120
COARSE_SECONDS = 10
LONGEST_SECONDS = 3600

Span = tuple[int, Arms]
"""When it began, in whole seconds, and what was in it."""


class Timeline:
    """Spans in their order. All but the last one never change, so that a thread may add them up."""

    def __init__(self) -> None:
        self._coarse: deque[Span] = deque()
        self._fine: deque[Span] = deque()
        self._second = -1
        self._now = Arms()
        self._before = Arms()
        """All spans but the present one, also those that are too old to be kept."""

    def at(self, now: float) -> Arms:
        """Where to count what happens now. `now` never goes back."""
        second = int(now)
        if second != self._second:
            self._second = second
            self._before.absorb(self._now)
            self._now = Arms()
            self._fine.append((second, self._now))
            self._coarsen(second)
        return self._now

    def _coarsen(self, second: int) -> None:
        fine, coarse = self._fine, self._coarse
        while _decade(fine[0][0]) + COARSE_SECONDS <= second - FINE_SECONDS:
            began, arms = _decade(fine[0][0]), Arms()
            while _decade(fine[0][0]) == began:
                arms.absorb(fine.popleft()[1])
            coarse.append((began, arms))
        while coarse and coarse[0][0] < second - LONGEST_SECONDS:
            coarse.popleft()

    def so_far(self) -> Arms:
        """Everything from the beginning."""
        arms = self._before.copy()
        arms.absorb(self._now)
        return arms

    def since(self, moment: float) -> list[Span]:
        """The spans that began at or after a moment, as they are now: nothing older is in them."""
        spans = [span for span in (*self._coarse, *self._fine) if span[0] >= moment]
        if spans and spans[-1][1] is self._now:
            spans[-1] = (spans[-1][0], self._now.copy())
        return spans


def total(spans: list[Span], since: float) -> Arms:
    """All of the spans that began at or after a moment."""
    arms = Arms()
    for began, each in spans:
        if began >= since:
            arms.absorb(each)
    return arms


def _decade(second: int) -> int:
    return second - second % COARSE_SECONDS
