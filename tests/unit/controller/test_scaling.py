"""The built-in autoscaler in the operator: whom it listens to, and whom it tells."""

from __future__ import annotations

from typing import Any

import pytest

from modelrouter.api.manifests import Key
from modelrouter.controller.loads import Loads
from modelrouter.controller.pods import Pod, PodStore
from modelrouter.controller.scaling import Scaler
from modelrouter.controller.snapshot import Snapshot
from modelrouter.plan.facts import Counts, PoolLoad, RouterPod
from modelrouter.plan.transitions import Event

POOL = ("ns", "llama")
ROUTER = ("ns", "default")


class Agents:
    """What router pods told, in place of the open questions to them."""

    def __init__(self) -> None:
        self.told: dict[str, dict[str, PoolLoad] | None] = {}
        self.ready: dict[str, Counts] = {}

    def loads(self, pod: Pod) -> dict[str, PoolLoad] | None:
        return self.told.get(pod.name)

    def facts(self, pod: Pod) -> RouterPod:
        return RouterPod(pod.name, pod.ready, "v1", self.ready)


class Stage:
    """An autoscaler, and the cluster as it sees it."""

    def __init__(self) -> None:
        self.snapshot, self.pods, self.agents = Snapshot(), PodStore(), Agents()
        self.deployment: tuple[int, bool] | None = None
        self.now = 1000.0
        self.turned: list[tuple[Key, Event | None]] = []
        self._version = 0
        self.scaler = self.new_leader()

    def new_leader(self) -> Scaler:
        """Another one, which knows nothing of what was."""
        self.scaler = Scaler(
            self.snapshot,
            Loads(self.snapshot, self.pods, self.agents),  # type: ignore[arg-type]
            lambda pool: self.deployment,
            lambda pool, event: self.turned.append((pool, event)),
            clock=lambda: self.now,
        )
        return self.scaler

    def pool(self, **autoscaling: Any) -> None:
        scaling = {"maxReplicas": 5, "target": {"runningRequests": 10}, **autoscaling}
        vllm = {
            "image": "vllm/vllm-openai:v0.33.0",
            "autoscaling": scaling,
            "loraAdapters": [{"name": "support", "source": "hf://acme/support"}],
        }
        spec = {"model": "acme/llama", "vllm": vllm}
        self.snapshot.put_pool(self._object("ModelPool", "llama", spec))

    def route(self, name: str, pool: str, router: str = "default") -> None:
        spec = {"models": [name], "pools": [pool], "router": router}
        self.snapshot.put_route(self._object("ModelRoute", name, spec))

    def pod(self, name: str, router: str = "default", ready: bool = True) -> None:
        self._version += 1
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        self.pods.put(
            {
                "metadata": {
                    "name": name,
                    "namespace": "ns",
                    "uid": name,
                    "resourceVersion": str(self._version),
                    "labels": {"modelrouter.dev/router": router},
                },
                "status": {"podIP": "10.0.0.1", "conditions": conditions},
            }
        )

    def load(self, pod: str, in_flight: int, waiting: int = 0, pool: str = "llama") -> None:
        """A pod tells its load, which is news."""
        self.agents.told[pod] = {pool: PoolLoad(in_flight, waiting)}
        self.scaler.load_changed(ROUTER, [pool])

    def _object(self, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        self._version += 1
        return {
            "apiVersion": "modelrouter.dev/v1alpha1",
            "kind": kind,
            "metadata": {
                "name": name,
                "namespace": "ns",
                "uid": f"{kind}-{name}",
                "generation": self._version,
                "resourceVersion": str(self._version),
            },
            "spec": spec,
        }


@pytest.fixture
def stage() -> Stage:
    stage = Stage()
    stage.pool(minReplicas=0, scaleDownDelay="1m")
    stage.route("chat", "llama")
    stage.pod("r-1")
    return stage


def test_a_request_that_waits_is_answered_with_a_replica_at_once(stage: Stage) -> None:
    stage.load("r-1", 0)
    assert stage.scaler.desired(POOL) == 0
    stage.turned.clear()
    stage.load("r-1", 0, waiting=1)
    assert stage.scaler.desired(POOL) == 1
    ((pool, event),) = stage.turned
    assert pool == POOL
    assert event is not None
    assert (event.type, event.reason) == ("Normal", "ScaledFromZero")
    assert event.message.startswith("replicas 0 → 1: 1 requests under way")
    status = stage.scaler.status(POOL)
    assert status is not None
    assert status["desiredReplicas"] == 1


def test_all_pods_of_all_routers_count_and_requests_for_adapters_too(stage: Stage) -> None:
    stage.pod("r-2")
    stage.route("help", "llama/support", router="other")
    stage.pod("o-1", router="other")
    stage.load("r-1", 12)
    stage.load("r-2", 9)
    stage.load("o-1", 14, pool="llama/support")
    assert stage.scaler.desired(POOL) == 4


def test_the_replicas_that_run_are_taken_over_by_a_new_leader(stage: Stage) -> None:
    stage.load("r-1", 45)
    assert stage.scaler.desired(POOL) == 5
    stage.deployment = (5, True)
    stage.agents.ready = {"llama": Counts(5, 5)}
    stage.load("r-1", 0)
    stage.now += 50
    scaler = stage.new_leader()
    assert scaler.desired(POOL) == 5
    scaler.look_at_all()
    stage.now += 59
    scaler.look_at_all()
    assert scaler.desired(POOL) == 5
    stage.now += 2
    scaler.look_at_all()
    assert scaler.desired(POOL) == 0
    assert stage.turned[-1][1] is not None
    assert stage.turned[-1][1].reason == "ScaledDown"


def test_before_anybody_has_told_anything_nothing_is_taken_away(stage: Stage) -> None:
    stage.deployment = (3, True)
    for _ in range(600):
        stage.now += 1
        stage.scaler.look_at_all()
    assert stage.scaler.desired(POOL) == 3
    status = stage.scaler.status(POOL)
    assert status is not None
    assert status["reason"] == "LoadUnknown"
    assert "router pod r-1" in status["message"]
    assert [event.type for _, event in stage.turned if event] == ["Warning"]


def test_a_router_without_a_ready_pod_is_named(stage: Stage) -> None:
    stage.pod("r-1", ready=False)
    stage.deployment = (2, True)
    for _ in range(100):
        stage.now += 1
        stage.scaler.look_at_all()
    assert stage.scaler.desired(POOL) == 2
    status = stage.scaler.status(POOL)
    assert status is not None
    assert "router default, which has no ready pod" in status["message"]


def test_a_pool_that_no_route_names_goes_to_zero(stage: Stage) -> None:
    stage.deployment = (2, True)
    stage.snapshot.remove_route(
        {"metadata": {"name": "chat", "namespace": "ns", "uid": "x", "resourceVersion": "99"}}
    )
    for _ in range(62):
        stage.now += 1
        stage.scaler.look_at_all()
    assert stage.scaler.desired(POOL) == 0


def test_nothing_is_told_while_nothing_turns(stage: Stage) -> None:
    stage.load("r-1", 15)
    stage.turned.clear()
    for second in range(300):
        stage.now += 1
        stage.load("r-1", 13 + second % 5)
    assert stage.turned == []


def test_a_first_deployment_has_the_least_replicas(stage: Stage) -> None:
    assert stage.scaler.desired(POOL) == 0
    stage.pool(minReplicas=2)
    assert stage.new_leader().desired(POOL) == 2


def test_with_keda_a_number_is_named_until_keda_has_set_one(stage: Stage) -> None:
    stage.pool(engine="KEDA", minReplicas=0)
    stage.scaler.look_at_all()
    assert stage.scaler.desired(POOL) == 0
    stage.deployment = (4, True)
    assert stage.scaler.desired(POOL) == 4
    stage.deployment = (3, False)
    assert stage.scaler.desired(POOL) is None
    assert stage.scaler.status(POOL) is None


def test_a_pool_is_forgotten_when_it_is_gone_or_not_autoscaled_any_more(stage: Stage) -> None:
    stage.load("r-1", 25)
    assert stage.scaler.desired(POOL) == 3
    stage.snapshot.remove_pool(
        {"metadata": {"name": "llama", "namespace": "ns", "uid": "x", "resourceVersion": "99"}}
    )
    assert stage.scaler.desired(POOL) is None
    stage.scaler.look_at_all()
    stage._version = 200
    stage.pool(minReplicas=1)
    assert stage.scaler.desired(POOL) == 1, "a pool made anew starts anew"
