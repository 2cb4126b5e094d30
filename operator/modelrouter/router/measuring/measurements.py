"""The figures of all canaries that run on this router."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from modelrouter.api.router_config import CanaryConfig, PoolConfig, RouteConfig, RouterConfig
from modelrouter.policy.arms import CANARY, STABLE, plain_reason
from modelrouter.router.accesslog.record import RequestRecord
from modelrouter.router.measuring.outcome import counts, failure_of
from modelrouter.router.measuring.tally import Arms, Tally
from modelrouter.router.measuring.timeline import Timeline, total
from modelrouter.router.records.keeping import DecisionRecord

SETTLING_SECONDS = 0.2
"""After a canary has come into force, requests may have been placed by the one before: decisions
are shared for 50 ms, and the access log is 20 ms late."""
_MOST_REASONS = 1000
"""Reasons name what was passed over, in many ways."""
_LEAST_STREAM_MS = 1.0
"""The time is known to the millisecond; a speed over less of it says nothing."""
_PER_MILLION = Decimal(1_000_000)

Price = tuple[float, float]
"""US dollars for a token of the prompt, and for one of the answer."""


class RunningCanary:
    """One canary, measured since it has been in force."""

    def __init__(self, config: CanaryConfig, began_at: float) -> None:
        self.config = config
        self.began_at = began_at
        self.timeline = Timeline()
        self.prices: Mapping[str, Price] = {}
        self._pools = {
            f"{plain_reason(config.rule)}; {STABLE}": config.stable,
            f"{plain_reason(config.rule)}; {CANARY}": config.candidate,
        }
        self._meant: dict[str, str | None] = {}

    def use_pools(self, pools: Mapping[str, PoolConfig]) -> None:
        """Take over the arms' prices."""
        self.prices = {
            name: (float(Decimal(price.input) / _PER_MILLION),
                   float(Decimal(price.output) / _PER_MILLION))
            for name in (self.config.stable, self.config.candidate)
            if name in pools and (price := pools[name].price) is not None
        }  # fmt: skip

    def pool_of(self, reason: str) -> str | None:
        """The pool that a request was meant for; None: it took no part."""
        try:
            return self._meant[reason]
        except KeyError:
            pass
        if len(self._meant) >= _MOST_REASONS:
            self._meant.clear()
        decided = ";".join(reason.split(";", 2)[:2])  # behind it may be more
        self._meant[reason] = self._pools.get(decided)
        return self._meant[reason]

    def tally(self, pool: str, now: float) -> Tally:
        """Where the requests that are meant for a pool count now."""
        arms = self.timeline.at(now)
        return arms.canary if pool == self.config.candidate else arms.stable

    def record(self, record: RequestRecord, now: float) -> None:
        """A request of the route has ended."""
        pool = self.pool_of(record.reason)
        if pool is None or not counts(record):
            return
        # An older canary may have had the same marks, and streams last for minutes.
        if now - record.duration_ms / 1000 < self.began_at:
            return
        tally = self.tally(pool, now)
        failure = failure_of(record, pool)
        if failure is not None:
            return tally.fail(failure)
        first = record.first_byte_ms if record.streamed else None
        tally.succeed(record.duration_ms, first)
        prompt, completion = record.prompt_tokens, record.completion_tokens
        if completion and (spent := record.duration_ms - (first or 0.0)) >= _LEAST_STREAM_MS:
            tally.tokens_per_second.add(completion * 1000 / spent)
        price = self.prices.get(pool)
        if price is not None and (prompt is not None or completion is not None):
            tally.cost.add((prompt or 0) * price[0] + (completion or 0) * price[1])

    def rate(self, record: DecisionRecord, score: float, now: float) -> None:
        """An answer to a request of the route was rated. It speaks of the pool that gave it."""
        pool = self.pool_of(record.reason)
        began = record.ended_at - record.duration_ms / 1000
        if pool is not None and record.pool == pool and began >= self.began_at:
            self.tally(pool, now).quality.add(score)


class Measurements:
    """Takes records and ratings, and tells figures by route, arm and window."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is that of the decision records."""
        self._clock = clock
        self.running: dict[str, RunningCanary] = {}
        """By route."""

    def use(self, config: RouterConfig) -> None:
        """Measure the canaries of a configuration. Those that go on keep their figures."""
        began_at = self._clock() + SETTLING_SECONDS
        running: dict[str, RunningCanary] = {}
        for name, canary in canaries(config.routes):
            known = self.running.get(name)
            if known is None or known.config != canary:
                known = RunningCanary(canary, began_at)
            known.use_pools(config.pools)
            running[name] = known
        self.running = running

    def record(self, record: RequestRecord) -> None:
        """A request has ended."""
        if self.running:
            running = self.running.get(record.route)
            if running is not None:
                running.record(record, self._clock())

    def rate(self, record: DecisionRecord, score: float) -> None:
        """A request was rated, 0 to 1."""
        running = self.running.get(record.route)
        if running is not None:
            running.rate(record, score, self._clock())

    async def document(self, route: str, windows: Iterable[int]) -> dict[str, Any]:
        """The answer of `/measurementz`, for windows of so many seconds.

        Without a running canary of the route the id is empty, and there are no windows.
        """
        running = self.running.get(route)
        if running is None:
            return {"route": route, "id": "", "windows": {}}
        wanted = sorted(set(windows))
        now = self._clock()
        spans = running.timeline.since(now - max(wanted, default=0))
        # An hour of figures takes some milliseconds to add up; decisions go on meanwhile.
        totals = await asyncio.to_thread(
            lambda: {window: total(spans, now - window) for window in wanted}
        )
        age = max(now - running.began_at, 0.0)
        return {
            "route": route,
            "id": running.config.id,
            "windows": {
                str(window): _window(arms, min(float(window), age))
                for window, arms in totals.items()
            },
        }


def canaries(routes: Mapping[str, RouteConfig]) -> Iterable[tuple[str, CanaryConfig]]:
    """The running canaries, by route."""
    for name, route in routes.items():
        if route.canary is not None:
            yield name, route.canary


def _window(arms: Arms, covers: float) -> dict[str, Any]:
    return {
        "stable": arms.stable.measurement.document(),
        "canary": arms.canary.measurement.document(),
        "covers": round(covers, 3),
    }
