"""Decisions follow a new policy before Envoy has its route table, where Envoy needs nothing new."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from modelrouter.api.router_config import RouterConfig
from modelrouter.router.accounting.ledger import Ledger
from modelrouter.router.agent import Agent
from modelrouter.router.discovery import Store
from modelrouter.router.discovery.resources import CLUSTER, ENDPOINTS, ROUTES
from modelrouter.router.envoy.routes import ROUTE_TABLE
from modelrouter.router.envoy.settings import EnvoySettings
from modelrouter.router.inputs import Inputs

EJECTION = {"consecutive_errors": 5, "base_ejection_time_ms": 1000, "max_ejection_percent": 50}
BODY = json.dumps({"model": "chat", "messages": []}).encode()


def inputs(first: str = "blue", header: str = "", **pool: Any) -> Inputs:
    """A route that sends everything to one of two pools; those with a header to the other."""
    pools = {
        name: {"model": name, "addresses": ["10.0.0.1:80"], "ejection": EJECTION, **pool}
        for name in ("blue", "green")
    }
    other = "green" if first == "blue" else "blue"
    rules: list[Any] = [{"name": "r", "targets": [{"pool": first, "weight": 1}], "failover": []}]
    if header:
        conditions = {"headers": [{"name": header, "exact": "yes"}]}
        targets = [{"pool": other, "weight": 1}]
        rules.insert(0, {"name": "h", "conditions": conditions, "targets": targets, "failover": []})
    route = {
        "models": ["chat"],
        "pools": ["blue", "green"],
        "rules": rules,
        "retry": {"attempts_per_pool": 1, "triggers": ["5xx"]},
        "request_timeout_ms": 60_000,
        "idle_timeout_ms": 5_000,
        "fallthrough": {"pools": [first], "closed": False},
    }
    config = RouterConfig.model_validate(
        {"router": "d", "namespace": "n", "pools": pools, "routes": {"chat": route}}
    )
    return Inputs(config.document(), {})


class Decided(Ledger):
    """Remembers the last decision."""

    pool = ""

    def decided(self, request_id: str, pool: str, seconds: float) -> None:
        self.pool = pool


class Scene:
    """An agent, and an Envoy that answers when told to."""

    def __init__(self) -> None:
        self.store = Store()
        self.ledger = Decided()
        self.agent = Agent(EnvoySettings(directory=Path("/run/mr")), self.ledger, self.store)
        self.session = self.store.connect()
        self.session.ledger.subscribe(CLUSTER, ())
        self.session.ledger.subscribe(ENDPOINTS, ["blue", "green"])
        self.session.ledger.subscribe(ROUTES, [ROUTE_TABLE])
        self.versions: list[str] = []

    def decided(self) -> str:
        """The pool that a request goes to."""
        self.agent.decide("/v1/chat/completions", {"x-request-id": "1"}, BODY)
        return self.ledger.pool

    def begin(self, wanted: Inputs) -> asyncio.Task[bool]:
        assert wanted.document is not None
        self.versions.append(wanted.document["version"])
        return asyncio.create_task(self.agent.apply(wanted, asyncio.Event()))

    async def answer(self) -> None:
        """Envoy takes everything over."""
        ledger = self.session.ledger
        while self.store.version != self.versions[-1]:
            await asyncio.sleep(0.001)
        while (due := ledger.next_push(1e9)) is not None:
            nonce, push = due
            ledger.acknowledge(nonce)
            self.store.note_answer(None, push.kind)

    async def until_sent(self) -> None:
        """Wait until Envoy could have everything."""
        while self.store.version != self.versions[-1]:
            await asyncio.sleep(0.001)


@pytest.fixture
async def scene() -> Scene:
    scene = Scene()
    applying = scene.begin(inputs("blue"))
    await scene.answer()
    assert await applying
    assert scene.decided() == "blue"
    return scene


async def test_a_weight_counts_before_envoy_has_answered(scene: Scene) -> None:
    version = scene.agent.acknowledged
    applying = scene.begin(inputs("green"))
    await scene.until_sent()
    assert scene.decided() == "green"
    assert scene.agent.acknowledged == version
    await scene.answer()
    assert await applying
    assert scene.decided() == "green"
    assert scene.agent.acknowledged == scene.versions[-1]


async def test_what_needs_other_clusters_waits(scene: Scene) -> None:
    applying = scene.begin(inputs("green", context_window=1000))
    await scene.until_sent()
    assert scene.decided() == "blue"
    await scene.answer()
    assert await applying
    assert scene.decided() == "green"


async def test_a_rule_by_a_header_waits_until_envoy_shows_it(scene: Scene) -> None:
    applying = scene.begin(inputs("green", "x-beta"))
    await scene.until_sent()
    assert scene.decided() == "blue"
    await scene.answer()
    assert await applying
    assert scene.decided() == "green"
    # Now it is shown, and stays so as long as the policy in force looks at it.
    scene.begin(inputs("blue", "x-beta"))
    await scene.until_sent()
    assert scene.decided() == "blue"


async def test_what_cannot_be_built_is_taken_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise ValueError("no")

    monkeypatch.setattr(scene.agent, "_prepare", refuse)
    assert not await scene.begin(inputs("green"))
    assert scene.decided() == "blue"


async def test_headers_of_the_policy_in_force_are_shown_until_the_next_is(scene: Scene) -> None:
    applying = scene.begin(inputs("blue", "x-beta"))
    await scene.answer()
    assert await applying
    scene.begin(inputs("green", context_window=1000))
    await scene.until_sent()
    table = next(
        push.resources[ROUTE_TABLE]
        for _, push in iter(lambda: scene.session.ledger.next_push(1e9), None)
        if push.kind == ROUTES
    )
    assert b"x-beta" in table.body
