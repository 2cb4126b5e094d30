"""Simulated canaries: what the real judge and the real state machine make of random traffic.

Nothing here is a model of the analysis. Requests are drawn, added up as routers add them up, judged
by `judge` and handed to `advance`, on a clock of its own.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from random import Random

from modelrouter.api.canary import Canary, CanaryStep
from modelrouter.api.canary_analysis import CanaryMetric
from modelrouter.api.canary_status import CanaryPhase, CanaryStatus
from modelrouter.plan.canary import histogram
from modelrouter.plan.canary.advancing import advance, analysis_due
from modelrouter.plan.canary.distributions import normal_tail
from modelrouter.plan.canary.evidence import Evidence
from modelrouter.plan.canary.judging import breach, judge
from modelrouter.plan.canary.measurement import NOTHING, Measurement, Moments

LOOKS = 4
"""Analyses in the time that a step takes at least."""
PATIENCE = 25
"""A step that takes more than so many times its time leaves the canary undecided."""
_INTERVAL_S = 30
_LATENCY_S, _FIRST_TOKEN_S, _SPREAD = 2.0, 0.4, 0.5
"""Medians of the stable pool, and the standard deviation of the logarithm: log-normal."""
_TOKENS_PER_SECOND, _COST, _SCORE, _SCORED = 40.0, 0.002, 0.9, 0.1
"""Medians likewise; the share of good scores, and of requests that get one."""
_BEGIN = datetime(2000, 1, 1, tzinfo=UTC)
_FAILED = -1
_RESOLUTION = 1 << 16
"""Probabilities are multiples of its inverse, so that two random bytes draw a bucket."""


@dataclass(frozen=True)
class Behaviour:
    """How a pool answers."""

    error_rate: float
    """Share of its requests that fail."""
    latency_factor: float = 1.0
    """How many times longer than the stable pool it takes."""

    def draw(self, requests: int, metrics: frozenset[CanaryMetric], random: Random) -> Measurement:
        """So many requests, as far as the metrics look at them."""
        first_token: Mapping[int, int] = {}
        latency = _drawn(self._latencies, requests, random)
        failed = latency.pop(_FAILED, 0)
        if metrics & {CanaryMetric.P50_FIRST_TOKEN, CanaryMetric.P95_FIRST_TOKEN}:
            first_token = _drawn(self._first_tokens, requests - failed, random)
        return Measurement(
            requests,
            {"serverError": failed},
            latency,
            first_token,
            tokens_per_second=_spread(
                _TOKENS_PER_SECOND / self.latency_factor,
                requests - failed if CanaryMetric.TOKENS_PER_SECOND in metrics else 0,
                random,
            ),
            cost=_spread(
                _COST, requests if CanaryMetric.COST_PER_REQUEST in metrics else 0, random
            ),
            quality=_scores(requests if CanaryMetric.QUALITY in metrics else 0, random),
        )

    @cached_property
    def _latencies(self) -> Sequence[int]:
        """Failures have a bucket of their own."""
        return _table(_LATENCY_S * self.latency_factor, self.error_rate)

    @cached_property
    def _first_tokens(self) -> Sequence[int]:
        return _table(_FIRST_TOKEN_S * self.latency_factor)


@dataclass(frozen=True, slots=True)
class Ending:
    """How one canary ended."""

    phase: CanaryPhase | None
    """`Promoted` or `RolledBack`; None: undecided when patience ran out."""
    requests: int
    """Requests that the candidate had got by then."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many canaries ended."""

    endings: Sequence[Ending]

    def share(self, phase: CanaryPhase | None) -> float:
        """Of all, those that ended so."""
        return sum(ending.phase is phase for ending in self.endings) / len(self.endings)

    def requests(self, share: float) -> int:
        """Requests of the candidate with which this share of the canaries was decided."""
        ordered = sorted(ending.requests for ending in self.endings)
        return ordered[min(math.ceil(share * len(ordered)), len(ordered)) - 1]


def tally(
    canary: Canary, stable: Behaviour, candidate: Behaviour, requests: int, seeds: int
) -> Tally:
    """Simulate one canary for each seed from 0."""
    return Tally([run(canary, stable, candidate, requests, Random(seed)) for seed in range(seeds)])


def run(
    canary: Canary, stable: Behaviour, candidate: Behaviour, requests: int, random: Random
) -> Ending:
    """Simulate one canary.

    `requests` is what the candidate gets in the time that a step takes at least; the stable pool
    gets what the weight leaves to it. Steps and analyses have their own, equal times here, hooks
    and the switches of the spec are left out, and queries give nothing.
    """
    spec = _on_our_clock(canary)
    metrics = frozenset(check.metric for check in spec.analysis.checks if check.metric)
    metrics |= {limit.metric for limit in spec.analysis.hard_limits}
    status: CanaryStatus | None = None
    now, spent, looks, ticks = _BEGIN, 0, 0, 0
    arms = fresh = (NOTHING, NOTHING)
    while True:
        judgement = None
        if status is not None and analysis_due(spec, status, now):
            age = (now - status.since).total_seconds()
            judgement = judge(spec.analysis, *arms, {}, steps=len(spec.steps), age=age)
        recent = {limit.window_seconds: fresh[1] for limit in spec.analysis.hard_limits}
        broken = breach(spec.analysis.hard_limits, recent)
        evidence = Evidence(candidate_ready=True, judgement=judgement, breach=broken)
        before, status = status, advance(spec, status, evidence, now).status
        if not status.phase.running:
            return Ending(status.phase, spent)
        if before is None or before.step != status.step:
            arms, looks = (NOTHING, NOTHING), 0
        if looks == LOOKS * PATIENCE:
            return Ending(None, spent)
        count = requests * (ticks % LOOKS + 1) // LOOKS - requests * (ticks % LOOKS) // LOOKS
        others = round(count * (100 - status.weight) / status.weight) if status.weight else 0
        fresh = stable.draw(others, metrics, random), candidate.draw(count, metrics, random)
        arms = arms[0].merge(fresh[0]), arms[1].merge(fresh[1])
        now += timedelta(seconds=_INTERVAL_S)
        spent, looks, ticks = spent + count, looks + 1, ticks + 1


def _on_our_clock(canary: Canary) -> Canary:
    pause = f"{_INTERVAL_S * LOOKS}s"
    analysis = canary.analysis.model_copy(update={"interval": f"{_INTERVAL_S}s", "window": "1h"})
    steps = [CanaryStep(weight=step.weight, pause=pause) for step in canary.steps]
    changes = {"analysis": analysis, "steps": steps, "hooks": [], "paused": False, "aborted": False}
    return canary.model_copy(update=changes)


def _drawn(table: Sequence[int], count: int, random: Random) -> Counter[int]:
    return Counter(map(table.__getitem__, memoryview(random.randbytes(2 * count)).cast("H")))


def _table(median_s: float, failing: float = 0.0) -> list[int]:
    """Log-normal durations: each bucket as often as it is likely, after those that fail."""
    table = [_FAILED] * round(failing * _RESOLUTION)
    for bucket in range(histogram.LAST_BUCKET + 1):
        upper = math.log(histogram.GROWTH ** (bucket + 1) / 1000)
        share = 1 - (1 - failing) * normal_tail((upper - math.log(median_s)) / _SPREAD)
        table += [bucket] * (round(share * _RESOLUTION) - len(table))
    return table + [histogram.LAST_BUCKET] * (_RESOLUTION - len(table))


def _spread(median: float, n: int, random: Random) -> Moments:
    return Moments.of(median * random.lognormvariate(0, _SPREAD) for _ in range(n))


def _scores(n: int, random: Random) -> Moments:
    scored = sum(random.random() < _SCORED for _ in range(n))
    good = sum(random.random() < _SCORE for _ in range(scored))
    return Moments(scored, good, good)
