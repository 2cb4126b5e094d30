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
from statistics import NormalDist

from modelrouter.api.canary import Canary, CanaryStep
from modelrouter.api.canary_analysis import CanaryMetric
from modelrouter.api.canary_status import CanaryPhase, CanaryStatus
from modelrouter.plan.canary import histogram
from modelrouter.plan.canary.advancing import advance, analysis_due
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


@dataclass(frozen=True)
class Behaviour:
    """How a pool answers."""

    error_rate: float
    """Share of its requests that fail."""
    latency_factor: float = 1.0
    """How many times longer than the stable pool it takes."""

    def draw(self, requests: int, metrics: frozenset[CanaryMetric], random: Random) -> Measurement:
        """So many requests, as far as the metrics look at them."""
        failed = _successes(requests, self.error_rate, random)
        answers = requests - failed
        first_token: Mapping[int, int] = {}
        if metrics & {CanaryMetric.P50_FIRST_TOKEN, CanaryMetric.P95_FIRST_TOKEN}:
            first_token = _drawn(self._first_tokens, answers, random)
        return Measurement(
            requests,
            {"serverError": failed},
            _drawn(self._latencies, answers, random),
            first_token,
            tokens_per_second=_spread(
                _TOKENS_PER_SECOND / self.latency_factor,
                answers if CanaryMetric.TOKENS_PER_SECOND in metrics else 0,
                random,
            ),
            cost=_spread(
                _COST, requests if CanaryMetric.COST_PER_REQUEST in metrics else 0, random
            ),
            quality=_scores(requests if CanaryMetric.QUALITY in metrics else 0, random),
        )

    @cached_property
    def _latencies(self) -> bytes:
        return _log_normal(_LATENCY_S * self.latency_factor)

    @cached_property
    def _first_tokens(self) -> bytes:
        return _log_normal(_FIRST_TOKEN_S * self.latency_factor)


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


def _drawn(table: bytes, count: int, random: Random) -> Counter[int]:
    return Counter(random.randbytes(count).translate(table))


def _log_normal(median_s: float) -> bytes:
    """Buckets of 256 equally likely durations, so that a random byte draws one.

    That leaves out the longest 0.2 %, which no quantile here depends on, and is as fast as it gets:
    a simulation draws millions.
    """
    normal = NormalDist(math.log(1000 * median_s), _SPREAD)
    durations = (math.exp(normal.inv_cdf((place + 0.5) / 256)) for place in range(256))
    return bytes(min(histogram.bucket_of(duration), 255) for duration in durations)


def _successes(trials: int, share: float, random: Random) -> int:
    """A binomial variable, from the gaps between successes, which are geometric."""
    if share > 0.5:
        return trials - _successes(trials, 1 - share, random)
    if share <= 0:
        return 0
    gap = 1 / math.log1p(-share)
    found, place = 0, math.floor(math.log(1 - random.random()) * gap)
    while place < trials:
        found, place = found + 1, place + 1 + math.floor(math.log(1 - random.random()) * gap)
    return found


def _spread(median: float, n: int, random: Random) -> Moments:
    return Moments.of(median * random.lognormvariate(0, _SPREAD) for _ in range(n))


def _scores(n: int, random: Random) -> Moments:
    scored = _successes(n, _SCORED, random)
    good = _successes(scored, _SCORE, random)
    return Moments(scored, good, good)
