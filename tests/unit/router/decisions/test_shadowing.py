"""What the agent does with a shadow's decisions: count them, tell them, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from structlog.testing import capture_logs

from modelrouter.api.autoscaling import OnColdStart
from modelrouter.api.router_config import PoolConfig, RouteConfig
from modelrouter.policy.compiling import compile_policy
from modelrouter.policy.state import PoolState
from modelrouter.router.accounting.ledger import Ledger
from modelrouter.router.decisions import shadowing
from modelrouter.router.decisions.metrics import ShadowCollector
from modelrouter.router.decisions.service import DecisionService
from modelrouter.router.decisions.shadowing import ShadowChoice
from unit.policy.builders import CHAT, COLD, chat, config, pool, route, rule

BODY = json.dumps(chat("a secret prompt")).encode()
LONG = json.dumps(chat("word " * 500)).encode()
LIVE = route(["a"], rule("default", "a"), attempts=1)
TRIAL = route(["b"], rule("new", "b"), attempts=1).model_copy(
    update={"models": [], "shadow_of": "live"}
)


class Scene:
    """A decision service, and what it told."""

    def __init__(self, pools: dict[str, PoolConfig] | None = None, **routes: RouteConfig) -> None:
        pools = pools or {"a": pool(), "b": pool()}
        self.ledger = Ledger()
        self.ledger.use_pools(pools)
        self.service = DecisionService(self.ledger)
        self.service.use(compile_policy(config(pools, **routes)), {})
        self.told: list[tuple[str, ShadowChoice]] = []
        self.service.shadowing.tell = lambda *told: self.told.append(told)
        self.woken: list[str] = []
        self.service.wake = self.woken.append

    def ask(self, request_id: str = "r1", body: bytes = BODY, **headers: str) -> bytes:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.service(CHAT, {"x-request-id": request_id, **given}, body)

    def metrics(self) -> Iterator[str]:
        registry = CollectorRegistry()
        registry.register(ShadowCollector(self.service.shadowing))
        for line in generate_latest(registry).decode().splitlines():
            if not line.startswith("#"):
                yield line


def test_each_request_is_counted_by_both_choices_and_told() -> None:
    scene = Scene(live=LIVE, trial=TRIAL)
    scene.ask("r1")
    scene.ask("r2")
    assert list(scene.metrics()) == [
        'modelrouter_shadow_decisions_total{pool="a",route="live",shadow="trial",would="b"} 2.0'
    ]
    assert scene.told == [
        ("r1", ShadowChoice("trial", "b", "rule:new")),
        ("r2", ShadowChoice("trial", "b", "rule:new")),
    ]


def test_refusals_of_either_side_are_counted() -> None:
    scene = Scene({"a": pool(), "b": pool(window=50)}, live=LIVE, trial=TRIAL)
    assert scene.ask(body=LONG).startswith(b"HTTP/1.1 200")
    backwards = Scene({"a": pool(window=50), "b": pool()}, live=LIVE, trial=TRIAL)
    assert backwards.ask(body=LONG).startswith(b"HTTP/1.1 400")
    assert set(scene.metrics()) == {
        'modelrouter_shadow_decisions_total{pool="a",route="live",shadow="trial",would=""} 1.0',
        'modelrouter_shadow_refusals_total{error="context_length_exceeded",route="live",'
        'shadow="trial"} 1.0',
    }
    assert scene.told[0][1].error == "context_length_exceeded"
    assert list(backwards.metrics()) == [
        'modelrouter_shadow_decisions_total{pool="",route="live",shadow="trial",would="b"} 1.0'
    ]


def test_replies_are_the_same_byte_for_byte() -> None:
    alone, watched = Scene(live=LIVE), Scene(live=LIVE, trial=TRIAL)
    for body in (BODY, LONG, b"no json", b'{"model": "unknown"}'):
        assert alone.ask(body=body) == watched.ask(body=body)


def test_a_shadow_that_raises_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    alone, watched = Scene(live=LIVE), Scene(live=LIVE, trial=TRIAL)

    def broken(*_: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(shadowing, "decide_by", broken)
    with capture_logs() as logs:
        assert watched.ask() == alone.ask()
        assert watched.ask() == alone.ask()
    assert list(watched.metrics()) == [
        'modelrouter_shadow_failures_total{route="live",shadow="trial"} 2.0'
    ]
    assert [line["event"] for line in logs] == ["a shadow could not decide a request"]
    assert "secret" not in str(logs)


def test_whoever_is_told_may_raise_too() -> None:
    scene = Scene(live=LIVE, trial=TRIAL)

    def broken(*_: object) -> None:
        raise RuntimeError("boom")

    scene.service.shadowing.tell = broken
    assert scene.ask().startswith(b"HTTP/1.1 200")


def test_a_shadow_neither_wakes_a_pool_nor_takes_room_in_it() -> None:
    pools = {"a": pool(), "b": pool(cold_start=OnColdStart.WAIT, limit=5)}
    scene = Scene(pools, live=LIVE, trial=TRIAL)
    scene.ledger.pools["b"] = COLD
    scene.ask()
    assert scene.woken == []
    assert scene.ledger.pools["b"].in_flight == 0
    assert scene.told[0][1].pool == "b"


def test_a_shadow_sees_the_pools_as_its_route_did() -> None:
    """The last free place goes to the request; its shadow must not find the pool full for that."""
    same = TRIAL.model_copy(update={"pools": ["a"], "rules": LIVE.rules})
    scene = Scene({"a": pool(limit=1)}, live=LIVE, trial=same)
    scene.ledger.pools["a"] = PoolState(ready=1, endpoints=1)
    scene.ask("r1")
    assert scene.ledger.pools["a"].in_flight == 1
    assert scene.told[0][1].pool == "a"


def test_a_request_that_has_waited_counts_once() -> None:
    pools = {"a": pool(cold_start=OnColdStart.WAIT), "b": pool()}
    scene = Scene(pools, live=LIVE, trial=TRIAL)
    scene.ledger.pools["a"] = COLD
    scene.ask("r1")
    scene.ledger.pools["a"] = PoolState(ready=1, endpoints=1)
    scene.ask("r1", x_mr_held="1")
    assert len(scene.told) == 1


def test_figures_go_with_their_shadow() -> None:
    scene = Scene(live=LIVE, trial=TRIAL)
    scene.ask()
    pools = {"a": pool(), "b": pool()}
    scene.service.use(compile_policy(config(pools, live=LIVE, trial=TRIAL)))
    assert len(list(scene.metrics())) == 1
    scene.service.use(compile_policy(config(pools, live=LIVE)))
    assert list(scene.metrics()) == []
