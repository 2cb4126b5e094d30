"""What requests say about the arms of a canary."""

from __future__ import annotations

from typing import Any

import pytest

from modelrouter.api.router_config import RouterConfig
from modelrouter.plan.canary.measurement import Measurement, read_document
from modelrouter.router.accesslog.record import RequestRecord
from modelrouter.router.measuring.measurements import SETTLING_SECONDS, Measurements
from modelrouter.router.records.keeping import DecisionRecord

EJECTION = {"consecutive_errors": 5, "base_ejection_time_ms": 5_000, "max_ejection_percent": 50}


def config(**canary: str) -> RouterConfig:
    price = {"input": "1", "output": "10"}
    pool = {"model": "m", "addresses": ["127.0.0.1:1"], "ejection": EJECTION, "price": price}
    route = {
        "models": ["chat"],
        "pools": ["old", "new", "next"],
        "rules": [{"name": "default", "targets": [{"pool": "old", "weight": 1}], "failover": []}],
        "retry": {"attempts_per_pool": 1, "triggers": ["5xx"]},
        "request_timeout_ms": 0,
        "idle_timeout_ms": 0,
        "fallthrough": {"pools": ["old"], "closed": False},
    }
    if canary:
        fields = {"id": "1", "rule": "default", "stable": "old", "candidate": "new"}
        route["canary"] = fields | canary
    return RouterConfig.model_validate(
        {
            "router": "default",
            "namespace": "ai",
            "pools": dict.fromkeys(("old", "new", "next"), pool),
            "routes": {"chat": route},
        }
    )


CANARY = RequestRecord(
    "id", "chat", "rule:default; canary", "new", 1, 200, 1100.0, 100.0, 1000, 500, (), "", True
)
STABLE = CANARY._replace(reason="rule:default; stable", pool="old")


class Scene:
    def __init__(self) -> None:
        self.now = 5000.0
        self.measurements = Measurements(lambda: self.now)
        self.measurements.use(config(id="1"))
        self.now += 10

    def take(self, *records: RequestRecord) -> None:
        for record in records:
            self.measurements.record(record)

    async def asked(self, seconds: int = 60) -> dict[str, Any]:
        return await self.measurements.document("chat", [seconds])

    async def arms(self, seconds: int = 60) -> tuple[Measurement, Measurement]:
        window = (await self.asked(seconds))["windows"][str(seconds)]
        return read_document(window["stable"]), read_document(window["canary"])


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_a_request_that_was_served(scene: Scene) -> None:
    scene.take(CANARY, STABLE, STABLE)
    stable, canary = await scene.arms()
    assert (stable.requests, canary.requests) == (2, 1)
    assert (stable.failed, canary.failed) == (0, 0)
    assert list(canary.latency.values()) == list(canary.first_token.values()) == [1]
    assert canary.tokens_per_second.mean == pytest.approx(500)
    assert canary.cost.mean == pytest.approx(1000 * 1e-6 + 500 * 10e-6)
    assert stable.cost.n == 2


async def test_an_answer_that_is_no_stream_has_no_first_token(scene: Scene) -> None:
    scene.take(CANARY._replace(streamed=False, prompt_tokens=None, completion_tokens=None))
    _, canary = await scene.arms()
    assert canary.latency
    assert not canary.first_token
    assert canary.cost.n == canary.tokens_per_second.n == 0, "nobody told the tokens"


@pytest.mark.parametrize(
    ("changes", "failure"),
    [
        ({"status": 500}, "serverError"),
        ({"status": 503, "pool": "old", "attempts": 2}, "serverError"),
        ({"status": 404}, "serverError"),
        ({"status": 401}, "serverError"),
        ({"status": 429}, "rateLimited"),
        ({"attempts": 2, "pool": "old"}, "rescued"),
        ({"attempts": 2}, "rescued"),
        ({"pool": "old"}, "rescued"),
        ({"flags": "UC"}, "brokenStream"),
        ({"flags": "UPE,SI"}, "brokenStream"),
        ({"status": 400}, None),
        ({"flags": "NC"}, None),
    ],
)
async def test_failures_have_one_class(
    scene: Scene, changes: dict[str, Any], failure: str | None
) -> None:
    scene.take(CANARY._replace(**changes))
    stable, canary = await scene.arms()
    assert stable.requests == 0, "whoever answered: it was the candidate's request"
    assert canary.requests == 1
    assert canary.failures == ({failure: 1} if failure else {})
    assert bool(canary.latency) == (failure is None)


@pytest.mark.parametrize("changes", [{"status": 0}, {"flags": "DC"}, {"flags": "DPE,UC"}])
async def test_a_client_that_left_is_not_counted(scene: Scene, changes: dict[str, Any]) -> None:
    scene.take(CANARY._replace(**changes))
    _, canary = await scene.arms()
    assert canary.requests == 0


@pytest.mark.parametrize(
    ("reason", "arm"),
    [
        ("rule:default; canary; old full", 1),
        ("rule:default; stable; next cold, spilled", 0),
        ("rule:default", None),
        ("rule:default; canaries", None),
        ("rule:other; canary", None),
        ("fall-through", None),
        ("", None),
    ],
)
async def test_the_reason_tells_the_arm(scene: Scene, reason: str, arm: int | None) -> None:
    for _ in range(2):  # the second time it is remembered
        scene.take(CANARY._replace(reason=reason))
    counted = [measured.requests for measured in await scene.arms()]
    assert counted == [2 * (arm == number) for number in (0, 1)]


async def test_windows_and_what_they_cover(scene: Scene) -> None:
    scene.take(CANARY)
    scene.now += 30
    scene.take(CANARY)
    assert [(await scene.arms(seconds))[1].requests for seconds in (20, 60)] == [1, 2]
    covered = 40 - SETTLING_SECONDS
    window = (await scene.asked(60))["windows"]["60"]
    assert window["covers"] == pytest.approx(covered), "the canary is younger"
    assert (await scene.asked(20))["windows"]["20"]["covers"] == 20


async def test_another_canary_begins_without_figures(scene: Scene) -> None:
    scene.take(CANARY)
    scene.measurements.use(config(id="1"))
    assert (await scene.arms())[1].requests == 1, "a weight has changed, say"

    scene.measurements.use(config(id="2", candidate="next"))
    assert (await scene.asked())["id"] == "2"
    assert (await scene.arms())[1].requests == 0
    scene.now += 20
    late = CANARY._replace(duration_ms=30_000.0)
    scene.take(late, CANARY._replace(pool="next"))
    _, canary = await scene.arms()
    assert (canary.requests, canary.failed) == (1, 0), "streams of the last one still end"

    scene.measurements.use(config())
    assert await scene.asked() == {"route": "chat", "id": "", "windows": {}}
    scene.take(CANARY)


async def test_scores_count_for_the_pool_that_answered(scene: Scene) -> None:
    def rated(record: RequestRecord, score: float, ended_at: float = 5010.0) -> None:
        scene.measurements.rate(DecisionRecord(*record[:10], ended_at), score)

    rated(CANARY, 0.5)
    rated(CANARY, 1.0)
    rated(STABLE, 0.25)
    rated(CANARY._replace(pool="old"), 0.0)
    rated(CANARY._replace(reason="rule:default"), 0.0)
    rated(CANARY, 0.0, ended_at=5000.5)
    stable, canary = await scene.arms()
    assert canary.quality.mean == pytest.approx(0.75)
    assert (canary.quality.n, stable.quality.n) == (2, 1)
    assert canary.requests == 0
