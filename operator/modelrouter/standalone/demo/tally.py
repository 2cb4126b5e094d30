"""What the demonstration's client saw, request by request, and figures made from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from modelrouter.standalone.observing import PoolShare

FALL_THROUGH = "fall-through"
"""The reason in answers that Envoy placed without the agent."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One request and how it ended. Times are seconds of the monotonic clock."""

    kind: str
    """`chat`, `stream`, `tools` or `embeddings`."""
    session: str
    started: float
    ended: float
    first_byte: float
    """When the first piece of the answer was there."""
    route: str = ""
    pool: str = ""
    reason: str = ""
    attempts: int = 1
    """How often the router sent the request."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cuts: int = 0
    """Streams that ended half-way because their server was killed, and were asked for again."""
    failure: str = ""
    """What went wrong; empty: nothing."""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.started


@dataclass(slots=True)
class Tally:
    """Every answer, in the order in which they ended."""

    answers: list[Answer] = field(default_factory=list)

    def add(self, answer: Answer) -> None:
        """One more."""
        self.answers.append(answer)

    @property
    def failures(self) -> list[Answer]:
        """Requests that got no right answer."""
        return [answer for answer in self.answers if answer.failure]

    @property
    def cuts(self) -> int:
        """Streams that a killed server could not finish."""
        return sum(answer.cuts for answer in self.answers)

    def between(self, begin: float, end: float) -> list[Answer]:
        """Requests that ended in a span of time."""
        return [answer for answer in self.answers if begin <= answer.ended < end]

    def shares(self, now: float, window: float) -> list[PoolShare]:
        """The table's rows: totals, and shares over the last `window` seconds."""
        recent = [a for a in self._latest(now - window) if not a.failure]
        by_route = Counter(answer.route for answer in recent)
        rows = []
        grouped: dict[tuple[str, str], list[Answer]] = {}
        for answer in self.answers:
            if answer.route:
                grouped.setdefault((answer.route, answer.pool), []).append(answer)
        for (route, pool), answers in sorted(grouped.items()):
            latest = [a for a in recent if (a.route, a.pool) == (route, pool)]
            sample = latest or answers[-200:]
            rows.append(
                PoolShare(
                    route,
                    pool,
                    requests=len(answers),
                    errors=sum(1 for answer in answers if answer.failure),
                    prompt_tokens=sum(answer.prompt_tokens for answer in answers),
                    completion_tokens=sum(answer.completion_tokens for answer in answers),
                    p50_ms=percentile([a.seconds * 1000 for a in sample], 50),
                    p99_ms=percentile([a.seconds * 1000 for a in sample], 99),
                    first_byte_p50_ms=percentile(
                        [
                            (a.first_byte - a.started) * 1000
                            for a in sample
                            if a.kind in ("stream", "embeddings")
                        ],
                        50,
                    ),
                    recent_share=len(latest) / by_route[route] if by_route[route] else 0.0,
                    per_second=len(latest) / window,
                )
            )
        return rows

    def _latest(self, since: float) -> list[Answer]:
        latest = []
        for answer in reversed(self.answers):
            if answer.ended < since:
                break
            latest.append(answer)
        return latest


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What clients noticed of something that was killed. Times are seconds."""

    answers: int
    failures: int
    cuts: int
    resent: int
    """Requests that the router sent more than once."""
    first_answer: float | None
    """From the kill to the end of the next good answer."""
    longest_gap: float
    """Longest time without any good answer."""
    slowest: float
    """Longest that one request took."""


def disturbance(answers: Sequence[Answer], killed: float) -> Disturbance:
    """Figures from the answers around and after a kill."""
    after = [answer for answer in answers if answer.ended >= killed]
    good = [answer for answer in after if not answer.failure]
    ends = [killed, *(answer.ended for answer in good)]
    gaps = [later - earlier for earlier, later in pairwise(ends)]
    return Disturbance(
        answers=len(after),
        failures=len(after) - len(good),
        cuts=sum(answer.cuts for answer in after),
        resent=sum(1 for answer in after if answer.attempts > 1),
        first_answer=good[0].ended - killed if good else None,
        longest_gap=max(gaps, default=0.0),
        slowest=max((answer.seconds for answer in after), default=0.0),
    )


@dataclass(frozen=True, slots=True)
class Shift:
    """What clients noticed of a new weight."""

    first_moved: float | None
    """Seconds from the save to the start of the first request that went by the new weights."""
    moved: int
    """Sessions that changed to the pool that was given more weight."""
    strayed: int
    """Sessions that changed to any other pool, which no new weight asks for."""
    share: float
    """Share of that pool afterwards, 0 to 1."""


def shift(
    before: Iterable[Answer], after: Sequence[Answer], saved: float, route: str, pool: str
) -> Shift:
    """Compare where sessions went before and after a weight was moved to `pool`."""
    home = {a.session: a.pool for a in before if a.route == route and not a.failure}
    answers = [a for a in after if a.route == route and not a.failure and a.started >= saved]
    movers = [a for a in answers if a.session in home and a.pool != home[a.session]]
    moved = {a.session for a in movers if a.pool == pool}
    strayed = {a.session for a in movers if a.pool != pool}
    first = min((a.started for a in movers if a.pool == pool), default=None)
    settled = [a for a in answers if first is not None and a.started >= first]
    share = sum(1 for a in settled if a.pool == pool) / len(settled) if settled else 0.0
    return Shift(None if first is None else first - saved, len(moved), len(strayed), share)


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The value below which so many percent lie; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
