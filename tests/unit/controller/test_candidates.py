"""What is known of the pool that a canary goes to."""

from __future__ import annotations

from typing import Any

import pytest

from modelrouter.api.canary import Canary
from modelrouter.controller.candidates import Candidates
from modelrouter.controller.pods import Pod, PodStore
from modelrouter.controller.reporting import own_status
from modelrouter.controller.snapshot import Route, Snapshot
from modelrouter.plan.facts import Counts, RouterPod


class Stage:
    """A route with a canary, and router pods that see endpoints of its candidate."""

    def __init__(self, to: str = "b") -> None:
        self.snapshot, self.pods = Snapshot(), PodStore()
        self.seen: dict[str, int] = {}
        self.waking: set[str] = set()
        canary = {"from": "a", "to": to, "steps": [{"weight": 50}]}
        self.put("ModelRoute", "chat", {"models": ["chat"], "pools": ["a", to], "canary": canary})
        polls: Any = self
        self.candidates = Candidates(self.snapshot, self.pods, polls, lambda route: self.waking)

    def facts(self, pod: Pod) -> RouterPod:
        pools = {self.spec.candidate: Counts(self.seen[pod.name], 1)}
        return RouterPod(pod.name, pod.ready, "v1", pools)

    def put(self, kind: str, name: str, spec: dict[str, Any]) -> None:
        metadata = {"name": name, "namespace": "ns", "uid": name, "resourceVersion": "1"}
        put = self.snapshot.put_route if kind == "ModelRoute" else self.snapshot.put_pool
        version = "modelrouter.dev/v1alpha1"
        put({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec})

    def pod(self, name: str, ready: int) -> None:
        self.seen[name] = ready
        metadata = {
            "name": name,
            "namespace": "ns",
            "uid": name,
            "resourceVersion": "1",
            "labels": {"modelrouter.dev/router": "default"},
        }
        conditions = [{"type": "Ready", "status": "True"}]
        self.pods.put(
            {"metadata": metadata, "status": {"podIP": "10.0.0.1", "conditions": conditions}}
        )

    @property
    def route(self) -> Route:
        return self.snapshot.routes["ns", "chat"]

    @property
    def spec(self) -> Canary:
        assert self.route.model is not None
        assert self.route.model.spec.canary is not None
        return self.route.model.spec.canary

    @property
    def problem(self) -> str:
        return self.candidates.problem(("ns", "chat"), self.spec)

    @property
    def ready(self) -> bool:
        return self.candidates.ready(self.route, self.spec)


def test_a_pool_that_is_missing_or_invalid_is_a_problem() -> None:
    stage = Stage()
    assert stage.problem == "there is no ModelPool ns/b; create it"
    stage.put("ModelPool", "b", {"model": "m", "nonsense": 1})
    assert "ModelPool ns/b is invalid" in stage.problem
    stage = Stage()
    stage.put("ModelPool", "b", {"model": "m", "endpoints": ["10.0.0.1:80"]})
    assert stage.problem == ""


@pytest.mark.parametrize(("adapter", "problem"), [("sql", ""), ("other", "has no adapter other")])
def test_an_adapter_has_to_be_one_of_its_pool(adapter: str, problem: str) -> None:
    stage = Stage(f"b/{adapter}")
    adapters = [{"name": "sql", "source": "hf://acme/sql"}]
    vllm = {"image": "vllm/vllm-openai:v0.33.0", "loraAdapters": adapters}
    stage.put("ModelPool", "b", {"model": "acme/llama", "vllm": vllm})
    assert problem in stage.problem
    assert bool(problem) == bool(stage.problem)


def test_it_is_ready_once_every_pod_sees_an_endpoint_or_a_request_would_start_one() -> None:
    stage = Stage()
    assert not stage.ready
    stage.pod("r-1", 1)
    assert stage.ready
    stage.pod("r-2", 0)
    assert not stage.ready
    stage.waking = {"b"}
    assert stage.ready


def test_what_others_wrote_into_a_status_stays_theirs() -> None:
    ready = {"type": "Ready", "status": "True"}
    live = {
        "observedGeneration": 3,
        "url": "http://x",
        "traffic": [],
        "canary": {"phase": "Paused"},
        "other": 1,
        "conditions": [ready, {"type": "example.com/Approved", "status": "True"}],
    }
    assert own_status(live) == {
        "observedGeneration": 3,
        "url": "http://x",
        "traffic": [],
        "conditions": [ready],
    }
    assert own_status({}) == {}
