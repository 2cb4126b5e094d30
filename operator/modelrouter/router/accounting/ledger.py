"""The running totals, and which requests are in flight.

Plain Python numbers in place of Prometheus' own counters: these are updated on every request, and
a labelled counter costs ten times as much. The collector turns them into metrics when asked.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from modelrouter.api.router_config import PoolConfig
from modelrouter.policy.arms import rule_of
from modelrouter.policy.state import PoolState
from modelrouter.router.accesslog.record import RequestRecord
from modelrouter.router.accounting.histogram import (
    DECISION_BUCKETS,
    DURATION_BUCKETS,
    FIRST_BYTE_BUCKETS,
    Histogram,
)

RECENT_SECONDS = 5.0
"""The window of the live view."""
BUSY_SECONDS = 3.0
"""How long a request counts after its end. Loads are told once a second, so it is told for sure."""
_RECENT_SAMPLES = 4096
_MOST_IN_FLIGHT = 200_000
_PER_MILLION = Decimal(1_000_000)
_COPY = "copy\x1f"
"""Before the id of a request that is copied, as no client writes it."""


@dataclass(slots=True)
class Totals:
    """Everything counted for one route and pool since the agent started."""

    codes: dict[int, int] = field(default_factory=dict)
    errors: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    """US dollars."""
    duration: Histogram = field(default_factory=lambda: Histogram(DURATION_BUCKETS))
    first_byte: Histogram = field(default_factory=lambda: Histogram(FIRST_BYTE_BUCKETS))
    recent: deque[tuple[float, float, float]] = field(
        default_factory=lambda: deque(maxlen=_RECENT_SAMPLES)
    )
    """When each of the last requests ended, its duration and its time to the first byte, in
    milliseconds."""

    @property
    def requests(self) -> int:
        """All requests, whatever their end."""
        return sum(self.codes.values())


class Ledger:
    """Totals by route and pool, decisions by rule, and the requests now in flight."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.totals: dict[tuple[str, str], Totals] = {}
        self.decisions: dict[tuple[str, str], int] = {}
        """Requests by route and the rule that placed them."""
        self.refusals: dict[str, int] = {}
        """Requests that the policy answered with an error, by error code."""
        self.fall_through = 0
        """Requests that Envoy placed alone, because the agent did not answer it."""
        self._ended_at: dict[str, float] = {}
        self.failed_streams: dict[str, int] = {}
        """Attempts by pool whose answer of 200 began with an error."""
        self.decision_time = Histogram(DECISION_BUCKETS)
        self.pools: dict[str, PoolState] = {}
        """What decisions know of each pool. Requests in flight are counted here for pools with a
        limit, by the pool that was chosen for them."""
        self._open: OrderedDict[str, list[str]] = OrderedDict()
        self._limited: set[str] = set()
        self._prices: dict[str, tuple[float, float]] = {}

    def use_pools(self, pools: Mapping[str, PoolConfig]) -> None:
        """Take over the pools of a new configuration, with their prices."""
        for gone in self.pools.keys() - pools.keys():
            del self.pools[gone]
            self._ended_at.pop(gone, None)
        for name in pools:
            self.pools.setdefault(name, PoolState())
        self._limited = {
            name for name, pool in pools.items() if pool.max_concurrent_requests is not None
        }
        self._prices = {
            name: (
                float(Decimal(pool.price.input) / _PER_MILLION),
                float(Decimal(pool.price.output) / _PER_MILLION),
            )
            for name, pool in pools.items()
            if pool.price is not None
        }

    def decided(self, request_id: str, pool: str, seconds: float) -> None:
        """A request was placed. Where a limit makes it count, it is in flight until its record
        arrives."""
        self.decision_time.observe(seconds)
        self._opened(request_id, pool)

    def copied(self, request_id: str, pool: str) -> None:
        """A copy of a request goes to this pool. It is in flight as the request is, by itself."""
        self._opened(_COPY + request_id, pool)

    def _opened(self, request_id: str, pool: str) -> None:
        if pool not in self._limited:
            return
        # Clients choose the ids, and may choose one twice.
        self._open.setdefault(request_id, []).append(pool)
        self.pools[pool].in_flight += 1
        if len(self._open) > _MOST_IN_FLIGHT:
            # Records were lost, or Envoy was killed: the oldest cannot be in flight any more.
            self._close(next(iter(self._open)))

    def refused(self, code: str, seconds: float) -> None:
        """The policy answered a request with an error."""
        self.refusals[code] = self.refusals.get(code, 0) + 1
        self.decision_time.observe(seconds)

    def refused_late(self, code: str) -> None:
        """A request was answered with an error after it had been placed."""
        self.refusals[code] = self.refusals.get(code, 0) + 1

    def forget_in_flight(self) -> None:
        """Envoy is gone, and every request in it."""
        self._open.clear()
        for state in self.pools.values():
            state.in_flight = 0

    def record(self, record: RequestRecord, *, waited: bool = False) -> None:
        """A request has ended. One that has waited was in flight only in its second pass through
        Envoy, which has a record of its own, without a route."""
        if self._open and not waited:
            self._close(record.request_id)
        for pool in record.failed_streams:
            self.failed_streams[pool] = self.failed_streams.get(pool, 0) + 1
        if record.pool in self.pools:
            self._ended_at[record.pool] = self._clock()
        if not record.route:
            return
        key = (record.route, record.pool)
        totals = self.totals.get(key)
        if totals is None:
            totals = self.totals[key] = Totals()
        codes = totals.codes
        codes[record.status] = codes.get(record.status, 0) + 1
        if record.status >= 500 or record.status == 0:
            totals.errors += 1
        totals.retries += max(record.attempts - 1, 0)
        reason = record.reason
        if reason == "fall-through":
            self.fall_through += 1
        elif rule := rule_of(reason):
            decided = (record.route, rule)
            self.decisions[decided] = self.decisions.get(decided, 0) + 1
        prompt, completion = record.prompt_tokens or 0, record.completion_tokens or 0
        totals.prompt_tokens += prompt
        totals.completion_tokens += completion
        price = self._prices.get(record.pool)
        if price is not None:
            totals.cost += prompt * price[0] + completion * price[1]
        totals.duration.observe(record.duration_ms / 1000)
        first_byte = record.first_byte_ms
        if first_byte is not None:
            totals.first_byte.observe(first_byte / 1000)
        totals.recent.append((self._clock(), record.duration_ms, first_byte or record.duration_ms))

    def record_copy(self, record: RequestRecord) -> None:
        """A copy has ended. Nothing of it is counted here, but its pool has worked."""
        if self._open:
            self._close(_COPY + record.request_id)
        if record.pool in self.pools:
            self._ended_at[record.pool] = self._clock()

    def price(self, pool: str) -> tuple[float, float]:
        """US dollars per token of prompts and of answers; 0 where none is stated."""
        return self._prices.get(pool, (0.0, 0.0))

    def busy(self, pool: str) -> bool:
        """Whether a request for a pool has ended in the last moment: Envoy is asked now and then
        how many are in flight, and would not tell of one that came and went in between."""
        return self._clock() - self._ended_at.get(pool, float("-inf")) < BUSY_SECONDS

    def _close(self, request_id: str) -> None:
        open_here = self._open.get(request_id)
        if open_here is None:
            return
        state = self.pools.get(open_here.pop())
        if not open_here:
            del self._open[request_id]
        if state is not None and state.in_flight > 0:
            state.in_flight -= 1

    def view(self) -> dict[str, dict[str, dict[str, object]]]:
        """Route → pool → totals and recent figures, for a person who watches."""
        since = self._clock() - RECENT_SECONDS
        recent = {key: [s for s in t.recent if s[0] >= since] for key, t in self.totals.items()}
        by_route: dict[str, int] = {}
        for (route, _), samples in recent.items():
            by_route[route] = by_route.get(route, 0) + len(samples)
        view: dict[str, dict[str, dict[str, object]]] = {}
        for (route, pool), totals in sorted(self.totals.items()):
            samples = recent[route, pool]
            latencies = [sample[1] for sample in samples]
            first_bytes = [sample[2] for sample in samples]
            view.setdefault(route, {})[pool] = {
                "requests": totals.requests,
                "errors": totals.errors,
                "retries": totals.retries,
                "prompt_tokens": totals.prompt_tokens,
                "completion_tokens": totals.completion_tokens,
                "cost_dollars": round(totals.cost, 6),
                "latency_ms": {"p50": quantile(latencies, 0.5), "p99": quantile(latencies, 0.99)},
                "first_byte_ms": {
                    "p50": quantile(first_bytes, 0.5),
                    "p99": quantile(first_bytes, 0.99),
                },
                "recent": {
                    "requests": len(samples),
                    "share": len(samples) / by_route[route] if by_route[route] else 0.0,
                },
            }
        return view


def quantile(values: Iterable[float], q: float) -> float | None:
    """The nearest-rank quantile, or None without values."""
    ordered = sorted(values)
    if not ordered:
        return None
    return round(ordered[min(int(q * len(ordered)), len(ordered) - 1)], 2)
