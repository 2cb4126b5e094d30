"""Judging canaries by the figures of router pods and of Prometheus. Agents are real servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from modelrouter.api.canary import Canary
from modelrouter.api.canary_status import AnalysisOutcome, CanaryStatus
from modelrouter.controller.analysing import Analyst
from modelrouter.controller.measurements import RouterFigures
from modelrouter.controller.pods import PodStore
from modelrouter.controller.prometheus import PrometheusError, Sample
from modelrouter.controller.snapshot import Route, Snapshot
from modelrouter.plan.canary.measurement import Measurement

NOW = datetime(2026, 1, 1, tzinfo=UTC)
Answer = Callable[[web.Request], Any]


class Prometheus:
    """Gives what a test says; what it does not know has no series."""

    def __init__(self) -> None:
        self.known: dict[str, list[Sample] | str] = {}
        self.asked: list[str] = []

    async def query(self, address: str, query: str) -> list[Sample]:
        self.asked.append(query)
        found = self.known.get(query, [])
        if isinstance(found, str):
            raise PrometheusError(found)
        return found


class Stage:
    """A route with a canary, its router pods, and whoever judges."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.pods, self.prometheus = PodStore(), Prometheus()
        self.questions: list[list[str]] = []
        self.answers: dict[str, Any] = {}
        """By address: a document, seconds to wait, or a status."""
        self._session = session
        self.port = 0

    async def start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/measurementz", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "0.0.0.0", 0).start()
        self.port = runner.addresses[0][1]
        return runner

    async def _answer(self, request: web.Request) -> web.Response:
        assert request.query["route"] == "chat"
        self.questions.append(request.query.getall("seconds"))
        found = self.answers[request.host.partition(":")[0]]
        if isinstance(found, float):
            await asyncio.sleep(found)
        if isinstance(found, int):
            return web.Response(status=found)
        windows = dict.fromkeys(request.query.getall("seconds"), found)
        identity = found.get("id", "1a") if isinstance(found, dict) else ""
        return web.json_response({"route": "chat", "id": identity, "windows": windows})

    def pod(self, number: int, answer: Any, *, ready: bool = True) -> None:
        address = f"127.0.0.{number}"
        self.answers[address] = answer
        conditions = [{"type": "Ready", "status": str(ready)}]
        metadata = {
            "name": f"r-{number}",
            "namespace": "ns",
            "uid": f"u{number}",
            "resourceVersion": str(number),
            "labels": {"modelrouter.dev/router": "default"},
        }
        status = {"podIP": address, "conditions": conditions}
        self.pods.put({"metadata": metadata, "status": status})

    def analyst(self) -> Analyst:
        prometheus: Any = self.prometheus
        return Analyst(self.pods, RouterFigures(self._session, self.port), prometheus)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        stage = Stage(await stack.enter_async_context(aiohttp.ClientSession()))
        runner = await stage.start()
        stack.push_async_callback(runner.cleanup)
        yield stage


def arms(candidate: Measurement, stable: Measurement | None = None) -> dict[str, Any]:
    return {
        "stable": (stable or Measurement(1000)).document(),
        "canary": candidate.document(),
        "covers": 60,
    }


def given(**analysis: Any) -> tuple[Route, Canary, CanaryStatus]:
    """A route, its canary, and a step that began a minute ago."""
    snapshot = Snapshot()
    checks = [{"metric": "successRate", "min": "0.9"}]
    canary = {
        "from": "a",
        "to": "b",
        "steps": [{"weight": 50, "pause": "1h"}],
        "analysis": {"checks": checks, **analysis},
    }
    snapshot.put_route(
        {
            "apiVersion": "modelrouter.dev/v1alpha1",
            "kind": "ModelRoute",
            "metadata": {"name": "chat", "namespace": "ns", "uid": "u", "resourceVersion": "1"},
            "spec": {"models": ["chat"], "pools": ["a", "b"], "canary": canary},
        }
    )
    route = snapshot.routes["ns", "chat"]
    assert route.model is not None
    spec = route.model.spec.canary
    assert spec is not None
    status = CanaryStatus.model_validate(
        {
            "phase": "Progressing",
            "id": "1a",
            "rule": "pools",
            "from": "a",
            "to": "b",
            "step": 1,
            "steps": 1,
            "weight": 50,
            "since": NOW - timedelta(seconds=60.7),
        }
    )
    return route, spec, status


async def test_the_figures_of_all_ready_pods_are_added_up(stage: Stage) -> None:
    stage.pod(2, arms(Measurement(90)))
    stage.pod(3, arms(Measurement(90, {"serverError": 90})))
    stage.pod(4, arms(Measurement(5000, {"serverError": 5000})), ready=False)
    found = await stage.analyst().judge(*given(), NOW)
    assert found.outcome is AnalysisOutcome.FAILING
    assert [(check.name, check.value) for check in found.checks] == [("successRate", 0.5)]
    assert stage.questions == [["60"], ["60"]]  # never to before the step began


async def test_a_window_reaches_as_far_back_as_is_said(stage: Stage) -> None:
    stage.pod(2, arms(Measurement(1000)))
    found = await stage.analyst().judge(*given(window="20s"), NOW)
    assert found.outcome is AnalysisOutcome.PASSING
    assert stage.questions == [["20"]]


@pytest.mark.parametrize(
    "answer",
    [
        30.0,
        500,
        {},
        {"stable": {}, "canary": {"requests": -1}},
        {**arms(Measurement(9)), "id": "x"},
    ],
    ids=["slow", "failing", "empty", "nonsense", "of another canary"],
)
async def test_a_pod_that_tells_nothing_is_left_out_and_named(stage: Stage, answer: Any) -> None:
    stage.pod(2, arms(Measurement(1000)))
    stage.pod(3, answer)
    found = await stage.analyst().judge(*given(), NOW)
    assert found.outcome is AnalysisOutcome.PASSING
    assert "without the figures of r-3" in found.message


async def test_without_any_pod_nobody_is_judged(stage: Stage) -> None:
    found = await stage.analyst().judge(*given(), NOW)
    assert found.outcome is AnalysisOutcome.INCONCLUSIVE
    assert "no router pod is ready" in found.message


async def test_hard_limits_have_windows_of_their_own_within_the_step(stage: Stage) -> None:
    limits = [
        {"metric": "errorRate", "max": "0.2", "window": "10s"},
        {"metric": "errorRate", "max": "0.2", "window": "2m"},
    ]
    stage.pod(2, arms(Measurement(1000, {"serverError": 400})))
    route, spec, status = given(hardLimits=limits)
    assert "errorRate" in (await stage.analyst().breach(route, spec, status, NOW) or "")
    assert stage.questions == [["10", "60"]]
    stage.pod(2, arms(Measurement(1000)))
    stage.answers["127.0.0.2"] = arms(Measurement(1000))
    assert await stage.analyst().breach(route, spec, status, NOW) is None
    stage.questions.clear()
    just_begun = status.since + timedelta(seconds=0.9)
    assert await stage.analyst().breach(route, spec, status, just_begun) is None
    assert await stage.analyst().breach(*given(), NOW) is None
    assert stage.questions == []


CHECKS = [
    {"metric": "successRate", "min": "0.9"},
    {"name": "queue", "query": 'q{pool="{{pool}}"}[{{window}}]', "maxRatioToStable": "2"},
    {"name": "global", "query": "g", "max": "5"},
]


def prometheus(stage: Stage, requests: float) -> None:
    series = {
        arm: Sample({"arm": arm, "outcome": "success"}, requests) for arm in ("stable", "canary")
    }
    labels = '{namespace="ns",route="chat",canary="1a"}[60s]'
    asked = f"sum by (arm, outcome) (increase(modelrouter_arm_requests_total{labels}))"
    stage.prometheus.known = {
        asked: list(series.values()),
        'q{pool="a"}[60s]': [Sample({}, 2.0)],
        'q{pool="b"}[60s]': [Sample({}, 3.0)],
        "g": [Sample({}, 4.0)],
    }


async def test_prometheus_gives_the_figures_and_the_answers_of_queries(stage: Stage) -> None:
    source = {"address": "http://p:9090"}
    prometheus(stage, 1000)
    found = await stage.analyst().judge(*given(checks=CHECKS, prometheus=source), NOW)
    assert found.outcome is AnalysisOutcome.PASSING, found
    figures = {check.name: (check.value, check.stable) for check in found.checks}
    assert figures["queue"] == (3.0, 2.0)
    assert figures["global"] == (4.0, None)
    stage.prometheus.known['q{pool="b"}[60s]'] = [Sample({}, 30.0)]
    found = await stage.analyst().judge(*given(checks=CHECKS, prometheus=source), NOW)
    assert found.outcome is AnalysisOutcome.FAILING


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ([Sample({}, 1.0), Sample({}, 2.0)], "queue: the query gives 2 series"),
        ([], ""),
        ([Sample({}, float("nan"))], ""),
        ("Prometheus refuses the query: parse error", "queue: Prometheus refuses the query"),
    ],
)
async def test_a_query_without_one_number_decides_nothing(
    stage: Stage, answer: Any, told: str
) -> None:
    prometheus(stage, 1000)
    stage.prometheus.known['q{pool="b"}[60s]'] = answer
    source = {"address": "http://p:9090"}
    found = await stage.analyst().judge(*given(checks=CHECKS, prometheus=source), NOW)
    assert found.outcome is AnalysisOutcome.INCONCLUSIVE
    assert told in found.message


async def test_without_prometheus_nobody_is_judged_and_the_reason_is_told(stage: Stage) -> None:
    prometheus(stage, 1000)
    stage.prometheus.known = dict.fromkeys(stage.prometheus.known, "Prometheus cannot be asked")
    source = {"address": "http://p:9090"}
    found = await stage.analyst().judge(*given(checks=CHECKS, prometheus=source), NOW)
    assert (found.outcome, found.message) == (
        AnalysisOutcome.INCONCLUSIVE,
        "Prometheus cannot be asked",
    )
