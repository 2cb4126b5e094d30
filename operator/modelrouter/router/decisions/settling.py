"""Plans that every request in Envoy can find, also one that began before the last update.

A request keeps the route table that was in force when its head arrived. Its body may come, and its
decision be made, long after an update; a plan from that update would lead it nowhere. So a new plan
is named only when no such request is left; until then what it says goes along with each decision.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping

SETTLING_SECONDS = 10.0
"""Longer than all but the slowest bodies take to arrive."""


class SettledPlans:
    """The keys of plans that may be named. Costs a dictionary's look-up."""

    __slots__ = ("_clock", "_moments", "_named_from", "changes_at")

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._named_from: dict[str, float] | None = None
        self._moments: deque[float] = deque()
        self.changes_at = float("inf")
        """When by `clock` the next plan may be named."""

    def replace(self, keys: Mapping[str, object]) -> None:
        """Envoy has acknowledged these, and no others. Costs time only for what has changed."""
        now = self._clock()
        if self._named_from is None:
            # The first table: before it no request could begin.
            self._named_from = dict.fromkeys(keys, now)
            return
        for gone in self._named_from.keys() - keys.keys():
            del self._named_from[gone]
        if added := keys.keys() - self._named_from.keys():
            later = now + SETTLING_SECONDS
            self._named_from.update(dict.fromkeys(added, later))
            self._moments.append(later)
        self.note_change()

    def note_change(self) -> None:
        """Work out `changes_at` anew, once it has passed."""
        now = self._clock()
        while self._moments and self._moments[0] <= now:
            self._moments.popleft()
        self.changes_at = self._moments[0] if self._moments else float("inf")

    def __contains__(self, key: object) -> bool:
        named_from = (self._named_from or {}).get(key)  # type: ignore[call-overload]
        return named_from is not None and named_from <= self._clock()
