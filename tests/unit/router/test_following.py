"""Endpoints of Services stay true whatever configuration is being prepared."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

# xds-protos ships neither stubs nor a py.typed marker.
from envoy.config.endpoint.v3 import endpoint_pb2  # type: ignore[import-untyped]

from modelrouter.api.router_config import PoolConfig, Probe
from modelrouter.router import handover
from modelrouter.router.discovery import ResourceSet, Store
from modelrouter.router.discovery.resources import ENDPOINTS
from modelrouter.router.envoy.endpoints import serialized_assignment
from modelrouter.router.envoy.resources import EnvoyResources
from modelrouter.router.envoy.settings import EnvoySettings
from modelrouter.router.following import ServiceFollower
from modelrouter.router.services import Group, Port, Services, addresses_of

PROBE = Probe(
    path="/health", interval_ms=1000, timeout_ms=1000, unhealthy_threshold=1, healthy_threshold=1
)
SETTINGS = EnvoySettings(directory=Path("/run/modelrouter"))
EJECTION = {"consecutive_errors": 5, "base_ejection_time_ms": 1, "max_ejection_percent": 50}


def pool(service: str | None = "models") -> PoolConfig:
    content: dict[str, Any] = {"model": "m", "ejection": EJECTION}
    if service is None:
        content["addresses"] = ["10.9.9.9:1"]
    else:
        content["service"] = {"name": service, "port": "http"}
    return PoolConfig.model_validate(content)


def group(*addresses: str) -> Group:
    return Group((Port("http", 8000),), tuple((address, "") for address in addresses))


def hosts(body: bytes) -> set[str]:
    """The endpoints in a message, without the void."""
    assignment = endpoint_pb2.ClusterLoadAssignment.FromString(body)
    return {
        host.endpoint.address.socket_address.address
        for locality in assignment.endpoints
        if locality.priority == 0
        for host in locality.lb_endpoints
    }


class Scene:
    """A follower, and a store without an Envoy."""

    def __init__(self) -> None:
        self.services = Services()
        self.store = Store()
        self.follower = ServiceFollower(self.services, self.store, SETTINGS)
        self.current = EnvoyResources()

    def tell(self, *addresses: str, service: str = "models") -> None:
        """The cluster has other endpoints."""
        if self.services.put(service, "slice", group(*addresses)):
            self.follower.report((service,))

    def prepare(self, **pools: PoolConfig) -> EnvoyResources:
        """What the builder makes, as of now."""
        groups = self.follower.snapshot()
        bodies = {}
        for name, each in pools.items():
            found: Any = each.addresses
            if each.service is not None:
                found = addresses_of(groups.get(each.service.name, ()), each.service.port)
            bodies[name] = serialized_assignment(name, found, SETTINGS)
        return EnvoyResources(clusters=dict.fromkeys(pools, b"c"), endpoints=bodies)

    def begin(self, ready: EnvoyResources, version: str, **pools: PoolConfig) -> None:
        """Give it to Envoy beside the old."""
        joined = self.follower.refreshed(self.current).joined_with(ready)
        both = ResourceSet(joined.clusters, joined.endpoints)
        alone = ResourceSet(ready.clusters, ready.endpoints)
        own = {name: each for name, each in pools.items() if each.service is not None}
        self.store.update(self.follower.begin(pools, own, both, alone), version)
        self.current = ready

    def settle(self, version: str, **pools: PoolConfig) -> None:
        """Take the old away."""
        own = {name: each for name, each in pools.items() if each.service is not None}
        alone = ResourceSet(self.current.clusters, self.current.endpoints)
        self.store.update(self.follower.settle(own, alone), version)

    def apply(self, version: str, **pools: PoolConfig) -> None:
        self.begin(self.prepare(**pools), version, **pools)
        self.settle(version, **pools)

    def has(self, name: str) -> set[str]:
        return hosts(self.store._catalog[ENDPOINTS][name].body)


@pytest.fixture
def scene() -> Scene:
    scene = Scene()
    scene.tell("10.0.0.1", "10.0.0.2")
    return scene


def test_a_change_goes_to_every_pool_of_the_service_and_to_no_other(scene: Scene) -> None:
    scene.apply("1", a=pool(), b=pool(), c=pool("others"), d=pool(None))
    scene.tell("10.0.0.2")
    assert scene.has("a") == scene.has("b") == {"10.0.0.2"}
    assert scene.has("c") == set()
    assert scene.has("d") == {"10.9.9.9"}


def test_a_pod_that_goes_while_a_configuration_is_prepared_stays_away(scene: Scene) -> None:
    scene.apply("1", a=pool())
    ready = scene.prepare(a=pool(), b=pool())
    scene.tell("10.0.0.2")
    scene.begin(ready, "2", a=pool(), b=pool())
    assert scene.has("a") == {"10.0.0.2"}
    scene.settle("2", a=pool(), b=pool())
    assert scene.has("a") == scene.has("b") == {"10.0.0.2"}


def test_a_pod_that_goes_before_the_old_is_taken_away_stays_away(scene: Scene) -> None:
    scene.apply("1", a=pool(), old=pool())
    ready = scene.prepare(a=pool())
    scene.begin(ready, "2", a=pool())
    scene.tell("10.0.0.2")
    assert scene.has("a") == scene.has("old") == {"10.0.0.2"}
    scene.settle("2", a=pool())
    assert scene.has("a") == {"10.0.0.2"}
    assert "old" not in scene.store._catalog[ENDPOINTS]
    scene.tell("10.0.0.3")
    assert "old" not in scene.store._catalog[ENDPOINTS]


def test_a_pod_that_went_in_the_past_stays_away(scene: Scene) -> None:
    """The resources in force were built before; those of the next configuration join them."""
    scene.apply("1", a=pool())
    scene.tell("10.0.0.2")
    scene.begin(scene.prepare(a=pool(), b=pool()), "2", a=pool(), b=pool())
    assert scene.has("a") == {"10.0.0.2"}


def test_a_pool_about_to_go_loses_a_pod_while_the_next_configuration_is_prepared(
    scene: Scene,
) -> None:
    scene.apply("1", a=pool(), old=pool("others"))
    scene.tell("10.0.0.7", service="others")
    ready = scene.prepare(a=pool())
    scene.tell("10.0.0.8", service="others")
    joined = scene.follower.refreshed(scene.current).joined_with(ready)
    scene.tell("10.0.0.9", service="others")
    both = ResourceSet(joined.clusters, joined.endpoints)
    began = scene.follower.begin({"a": pool()}, {"a": pool()}, both, both)
    assert hosts(began.endpoints["old"]) == {"10.0.0.9"}


def test_a_pod_that_went_does_not_stay_for_a_while_with_its_old_source(scene: Scene) -> None:
    scene.apply("1", a=pool())
    scene.tell("10.0.0.2")
    scene.begin(scene.prepare(a=pool(None)), "2", a=pool(None))
    assert scene.has("a") == {"10.9.9.9", "10.0.0.2"}


def test_a_pool_that_changes_its_source_keeps_what_it_had_for_a_while(scene: Scene) -> None:
    """The new endpoints have not passed a probe yet."""
    scene.tell("10.0.0.7", service="others")
    scene.apply("1", a=pool(), d=pool(None))
    scene.begin(scene.prepare(a=pool("others"), d=pool()), "2", a=pool("others"), d=pool())
    assert scene.has("a") == {"10.0.0.1", "10.0.0.2", "10.0.0.7"}
    assert scene.has("d") == {"10.9.9.9", "10.0.0.1", "10.0.0.2"}
    scene.settle("2", a=pool("others"), d=pool())
    assert scene.has("a") == {"10.0.0.7"}
    assert scene.has("d") == {"10.0.0.1", "10.0.0.2"}
    scene.begin(scene.prepare(a=pool(None)), "3", a=pool(None))
    scene.settle("3", a=pool(None))
    scene.tell("10.0.0.8", service="others")
    assert scene.has("a") == {"10.9.9.9"}


def test_tells_who_wants_to_keep_endpoints(scene: Scene) -> None:
    told = []
    scene.follower.on_change = lambda: told.append(True)
    scene.tell("10.0.0.5")
    scene.tell("10.0.0.5")
    assert len(told) == 1


async def test_endpoints_replaced_all_at_once_stay_until_the_new_are_probed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "PROBING_SECONDS", 0.05)
    probed, unprobed = pool(), pool()
    probed = probed.model_copy(update={"probe": PROBE})
    scene.apply("1", a=probed, b=unprobed)
    await asyncio.sleep(0.06)
    scene.tell("10.0.0.7")
    assert scene.has("b") == {"10.0.0.7"}  # Envoy uses it without asking
    assert scene.has("a") == {"10.0.0.1", "10.0.0.2", "10.0.0.7"}
    # A configuration that comes meanwhile changes nothing of it.
    scene.apply("2", a=probed, b=unprobed, c=pool("others"))
    assert scene.has("a") == {"10.0.0.1", "10.0.0.2", "10.0.0.7"}
    await asyncio.sleep(0.1)
    assert scene.has("a") == {"10.0.0.7"}
    scene.tell()
    assert scene.has("a") == set()


async def test_a_pool_that_goes_meanwhile_stays_away(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "PROBING_SECONDS", 0.05)
    probed = pool().model_copy(update={"probe": PROBE})
    scene.apply("1", a=probed)
    await asyncio.sleep(0.06)
    scene.tell("10.0.0.7")
    scene.apply("2", a=pool(None))
    await asyncio.sleep(0.1)
    assert scene.has("a") == {"10.9.9.9"}


def weights_of(body: bytes) -> dict[str, int]:
    """The weights of endpoints in a message; 0: none is given."""
    assignment = endpoint_pb2.ClusterLoadAssignment.FromString(body)
    return {
        host.endpoint.address.socket_address.address: host.load_balancing_weight.value
        for locality in assignment.endpoints
        if locality.priority == 0
        for host in locality.lb_endpoints
    }


def weights_in_envoy(scene: Scene, name: str) -> dict[str, int]:
    body = scene.store.endpoints_of(name)
    assert body is not None
    return weights_of(body)


def test_weights_outlive_configurations_and_other_endpoints() -> None:
    scene = Scene()
    scene.tell("10.0.0.1", "10.0.0.2")
    scene.apply("v1", a=pool())
    scene.follower.weigh("a", pool(), {"10.0.0.1:8000": 64, "10.0.0.2:8000": 8})
    assert weights_in_envoy(scene, "a") == {"10.0.0.1": 64, "10.0.0.2": 8}
    scene.apply("v2", a=pool(), b=pool("others"))
    assert weights_in_envoy(scene, "a") == {"10.0.0.1": 64, "10.0.0.2": 8}
    scene.tell("10.0.0.1", "10.0.0.3")
    assert weights_in_envoy(scene, "a") == {"10.0.0.1": 64, "10.0.0.3": 0}
    scene.follower.weigh("a", pool(), {})
    assert weights_in_envoy(scene, "a") == {"10.0.0.1": 0, "10.0.0.3": 0}


def test_fixed_addresses_are_weighed_unless_they_are_just_being_changed() -> None:
    scene = Scene()
    fixed = pool(None)
    scene.apply("v1", a=fixed)
    scene.follower.weigh("a", fixed, {"10.9.9.9:1": 32})
    assert weights_in_envoy(scene, "a") == {"10.9.9.9": 32}
    scene.apply("v2", a=fixed)
    scene.follower.weigh("a", fixed, {"10.9.9.9:1": 32})
    assert weights_in_envoy(scene, "a") == {"10.9.9.9": 32}
    moved = serialized_assignment("a", ["10.9.9.9:1", "10.9.9.8:1"], SETTINGS)
    scene.store.update_endpoints("a", moved)
    scene.follower.weigh("a", fixed, {"10.9.9.9:1": 16})
    assert scene.store.endpoints_of("a") == moved
