"""Given what the cluster and Envoy tell, the agent knows which pools are at zero, and tells it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from modelrouter.api.autoscaling import OnColdStart
from modelrouter.api.router_config import PoolConfig, ServiceEndpoints
from modelrouter.router.accesslog.record import RequestRecord
from modelrouter.router.accounting.ledger import Ledger
from modelrouter.router.accounting.metrics import PoolGauge
from modelrouter.router.agent import Agent
from modelrouter.router.discovery import ResourceSet, Store
from modelrouter.router.envoy.settings import EnvoySettings
from modelrouter.router.following import LAST_ONES_STAY_SECONDS
from modelrouter.router.services import Group, Port
from unit.policy.builders import config, pool

ONE = Group((Port("http", 8000),), (("10.0.0.1", "pod"),))


def following(**fields: Any) -> PoolConfig:
    """A pool that follows a Service and scales from zero."""
    wanted = pool(cold_start=OnColdStart.WAIT)
    update = {"addresses": None, "service": ServiceEndpoints(name="late", port="http"), **fields}
    return wanted.model_copy(update=update)


class Scene:
    def __init__(self, pool: PoolConfig) -> None:
        self.ledger = Ledger()
        self.agent = Agent(EnvoySettings(directory=Path("/run/mr")), self.ledger, Store())
        self.agent.endpoints.services.replace({})
        self.use(pool)

    def use(self, pool: PoolConfig) -> None:
        self.pools = {"late": pool}
        self.agent._take_over(config({"late": pool}), {})

    def tell(self, *groups: Group) -> None:
        """The cluster tells the endpoints of the Service."""
        changed = self.agent.endpoints.services.replace(
            {"late": {str(n): group for n, group in enumerate(groups)}}
        )
        self.agent.endpoints.report(changed)

    def ask_envoy(self, ready: int, total: int, active: int = 0) -> None:
        self.agent.report_memberships({"late": PoolGauge(ready, total, active)})

    @property
    def cold(self) -> bool:
        return self.ledger.pools["late"].cold

    @property
    def told(self) -> dict[str, int]:
        return dict(self.agent.counts.counts["late"])


async def test_a_pool_is_cold_from_its_last_endpoint_on_until_one_is_ready() -> None:
    scene = Scene(following())
    assert scene.cold
    scene.tell(ONE)
    scene.ask_envoy(0, 1)
    assert scene.cold  # Envoy has not probed it yet
    scene.ask_envoy(1, 1)
    assert not scene.cold
    scene.ask_envoy(0, 1)
    assert not scene.cold  # it has failed, and others take over
    scene.tell()
    assert scene.cold  # before Envoy has been asked again
    assert scene.ledger.pools["late"].ready == 0
    scene.ask_envoy(1, 1)  # Envoy has not heard of it yet
    assert scene.cold


async def test_what_envoy_said_before_a_pool_was_at_zero_does_not_count_after_it() -> None:
    scene = Scene(following())
    scene.tell(ONE)
    scene.ask_envoy(1, 1)
    scene.tell()
    scene.tell(ONE)
    scene.use(following(model="another"))
    assert scene.cold
    scene.ask_envoy(1, 1)
    assert not scene.cold


async def test_the_last_endpoint_stays_for_requests_that_are_on_their_way() -> None:
    scene = Scene(following())
    resources = ResourceSet(endpoints={"late": b""})
    scene.agent.endpoints.begin(scene.pools, scene.pools, resources, resources)
    scene.tell(ONE)
    before = scene.agent.endpoints._live["late"]
    scene.tell()
    assert scene.cold
    assert scene.agent.endpoints._live["late"] == before
    while scene.agent.endpoints._live["late"] == before:
        await asyncio.sleep(0.01)
    # One that comes meanwhile is taken at once, and not taken away again.
    scene.tell(ONE)
    scene.tell()
    scene.tell(ONE)
    assert scene.agent.endpoints._live["late"] == before
    await asyncio.sleep(2 * LAST_ONES_STAY_SECONDS)
    assert scene.agent.endpoints._live["late"] == before


async def test_ignorance_makes_no_pool_cold() -> None:
    scene = Scene(following())
    scene.agent.endpoints.services.heard = False
    scene.ledger.pools["late"].cold = False
    scene.ask_envoy(0, 0)
    assert not scene.cold


async def test_a_pool_that_no_longer_scales_from_zero_is_not_cold() -> None:
    scene = Scene(following())
    assert scene.cold
    scene.use(following(scaling=None))
    assert not scene.cold


async def test_the_load_of_autoscaled_pools_is_told() -> None:
    scene = Scene(following())
    scene.tell(ONE)
    scene.ask_envoy(1, 1, active=3)
    scene.agent.counts._tell()  # the time between two tellings is another test's
    assert scene.told == {"ready": 1, "total": 1, "inFlight": 3, "waiting": 0}
    scene.use(following(scaling=None))
    scene.agent.counts._tell()
    assert scene.told == {"ready": 1, "total": 1}


async def test_a_request_that_came_and_went_between_two_questions_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    scene = Scene(following())
    monkeypatch.setattr(scene.ledger, "_clock", lambda: now[0])
    scene.tell(ONE)
    scene.ask_envoy(1, 1)
    scene.ledger.record(RequestRecord("r", "chat", "", "late", 1, 200, 90.0, 30.0, None, None))
    scene.ask_envoy(1, 1)
    scene.agent.counts._tell()
    assert scene.told["inFlight"] == 1
    now[0] += 2.9
    scene.ask_envoy(1, 1, active=2)
    scene.agent.counts._tell()
    assert scene.told["inFlight"] == 2
    now[0] += 0.2
    scene.ask_envoy(1, 1)
    scene.agent.counts._tell()
    assert scene.told["inFlight"] == 0


async def test_that_a_pool_is_wanted_is_told_at_once_and_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    scene = Scene(following())
    monkeypatch.setattr(scene.agent.room, "_clock", lambda: now[0])
    assert scene.told["waiting"] == 0
    scene.agent.decide.wake("late")
    assert scene.told["waiting"] == 1  # although the counts were told just before
    now[0] += 9
    scene.ask_envoy(0, 0)
    scene.agent.counts._tell()
    assert scene.told["waiting"] == 1
    now[0] += 2
    scene.ask_envoy(0, 0)
    scene.agent.counts._tell()
    assert scene.told["waiting"] == 0
