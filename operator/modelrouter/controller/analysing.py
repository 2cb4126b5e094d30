"""Judging a canary by figures from outside: of the router pods, or of a Prometheus server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from modelrouter.api.canary import Canary
from modelrouter.api.canary_analysis import CanaryCheck
from modelrouter.api.canary_status import AnalysisOutcome, CanaryStatus
from modelrouter.api.manifests import Key
from modelrouter.controller.measurements import Arms, RouterFigures
from modelrouter.controller.pods import PodStore
from modelrouter.controller.prometheus import Prometheus, PrometheusError
from modelrouter.controller.snapshot import Route
from modelrouter.plan.canary.judging import Judgement, breach, judge
from modelrouter.plan.canary.promql import (
    QUESTIONS,
    Question,
    Series,
    arm_queries,
    read_arm,
    render_query,
)

Custom = tuple[float | None, float | None]
"""The candidate's figure and the stable pool's."""


class Analyst:
    """Gathers what a judgement needs, and judges."""

    def __init__(self, pods: PodStore, figures: RouterFigures, prometheus: Prometheus) -> None:
        self._pods = pods
        self._figures = figures
        self._prometheus = prometheus

    async def judge(
        self, route: Route, spec: Canary, status: CanaryStatus, now: datetime
    ) -> Judgement:
        """How the candidate does in the present step."""
        age = (now - status.since).total_seconds()
        seconds = max(int(min(age, spec.analysis.window_seconds)), 1)
        notes: list[str] = []
        custom: dict[str, Custom] = {}
        source = spec.analysis.prometheus
        try:
            if source is None:
                arms = await self._of_routers(route, status, seconds, notes)
            else:
                place = source.address
                arms = await self._of_prometheus(place, route.key, status, seconds)
                for check in spec.analysis.checks:
                    if check.query is not None:
                        custom[check.label] = await self._custom(
                            place, check, route.key, status, seconds, notes
                        )
        except PrometheusError as error:
            return Judgement(AnalysisOutcome.INCONCLUSIVE, (), str(error))
        found = judge(
            spec.analysis, arms.stable, arms.candidate, custom, steps=status.steps, age=age
        )
        message = "; ".join(filter(None, (found.message, *notes)))
        return replace(found, message=message)

    async def breach(
        self, route: Route, spec: Canary, status: CanaryStatus, now: datetime
    ) -> str | None:
        """The hard limit that the candidate is beyond, by the routers' own figures."""
        limits = spec.analysis.hard_limits
        age = int((now - status.since).total_seconds())
        if not limits or age < 1:
            return None  # The shortest window would reach to before the step began.
        windows = {limit.window_seconds: min(limit.window_seconds, age) for limit in limits}
        pods = self._pods.of((route.key[0], route.router))
        found = await self._figures.gather(route.key, status.id, pods, list(windows.values()))
        recent = {wanted: found.windows[asked].candidate for wanted, asked in windows.items()}
        return breach(limits, recent)

    async def _of_routers(
        self, route: Route, status: CanaryStatus, seconds: int, notes: list[str]
    ) -> Arms:
        pods = self._pods.of((route.key[0], route.router))
        found = await self._figures.gather(route.key, status.id, pods, [seconds])
        if found.gap:
            notes.append(found.gap)
        return found.windows[seconds]

    async def _of_prometheus(
        self, address: str, route: Key, status: CanaryStatus, seconds: int
    ) -> Arms:
        queries = arm_queries(*route, status.id, seconds)
        answers = await asyncio.gather(
            *(self._prometheus.query(address, queries[question]) for question in QUESTIONS)
        )
        series: Mapping[Question, Series] = {
            question: [(sample.labels, sample.value) for sample in answer]
            for question, answer in zip(QUESTIONS, answers, strict=True)
        }
        return Arms(read_arm(series, "stable"), read_arm(series, "canary"))

    async def _custom(
        self,
        address: str,
        check: CanaryCheck,
        route: Key,
        status: CanaryStatus,
        seconds: int,
        notes: list[str],
    ) -> Custom:
        query = check.query or ""

        async def figure(pool: str) -> float | None:
            values = {
                "namespace": route[0],
                "route": route[1],
                "rule": status.rule,
                "pool": pool,
                "window": f"{seconds}s",
            }
            samples = await self._prometheus.query(address, render_query(query, values))
            if len(samples) > 1:
                raise PrometheusError(f"the query gives {len(samples)} series; make it one number")
            # NaN is what Prometheus says of 0 / 0: there is no figure.
            return samples[0].value if samples and samples[0].value == samples[0].value else None

        try:
            candidate = await figure(status.candidate)
            stable = await figure(status.stable) if "{{pool}}" in query else None
        except PrometheusError as error:
            notes.append(f"{check.label}: {error}")
            return None, None
        return candidate, stable
