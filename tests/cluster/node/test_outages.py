"""Without the operator, and without an API server, routers go on; afterwards everything does."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from cluster.control_plane.controller.waiting import eventually
from cluster.node.away import (
    ROUTER_PODS,
    assert_changes_work,
    digest,
    kill_containers,
    no_operator,
    operator_pods,
    pods,
    requests_of,
    restarts,
)
from cluster.node.installation import MODEL, ROUTER, Routed
from cluster.node.traffic import running_traffic

MODEL_PODS = "app=llama-8b"
OUTAGE_SECONDS = 60.0


@pytest.fixture
def whole(example: Routed) -> Iterator[Routed]:
    """The example, put back afterwards."""
    example.wait_until_ready()
    yield example
    if example.kubernetes.is_own:
        example.kubernetes.start_api_server()
    scale_model(example, 2)
    example.wait_until_ready()


def scale_model(routed: Routed, replicas: int) -> None:
    """Return when the pods that stay are ready and the others are gone."""
    kubectl = routed.workloads.kubectl
    kubectl("scale", "deployment/llama-8b", f"--replicas={replicas}")
    kubectl("rollout", "status", "deployment/llama-8b", "--timeout=100s")
    name = "jsonpath={.items[*].metadata.name}"
    listed = ("get", "pods", "-l", MODEL_PODS, "-o", name)
    eventually(lambda: len(kubectl(*listed).split()) == replicas, within=60)


def replace_pods(routed: Routed, selector: str, deployment: str) -> None:
    """Delete one after the other, each when the one before is back."""
    before = routed.pods(selector)
    for pod in before:
        routed.workloads.kubectl("delete", "pod", pod)
        routed.workloads.kubectl("rollout", "status", f"deployment/{deployment}", "--timeout=100s")
    assert not set(before) & set(routed.pods(selector))


def assert_each_gets_traffic(routed: Routed) -> None:
    """Every model pod that there is now answers requests from now on."""
    before = {pod: requests_of(routed, pod) for pod in routed.pods(MODEL_PODS)}
    eventually(lambda: all(requests_of(routed, pod) > before[pod] for pod in before), within=30)


def test_without_an_operator_routers_follow_endpoints_and_restart(whole: Routed) -> None:
    with no_operator(whole.kubernetes):
        with running_traffic(whole.base_url, MODEL) as traffic:
            scale_model(whole, 3)
            assert_each_gets_traffic(whole)
            scale_model(whole, 1)
            replace_pods(whole, ROUTER_PODS, ROUTER)
            scale_model(whole, 2)
            assert_each_gets_traffic(whole)
        traffic.assert_unharmed()
        assert not operator_pods(whole.kubernetes)
    assert_changes_work(whole, "llama-8b")


def test_a_killed_operator_costs_nothing_and_comes_back(whole: Routed) -> None:
    before = restarts(operator_pods(whole.kubernetes))
    assert len(before) == 2
    with running_traffic(whole.base_url, MODEL) as traffic:
        kill_containers(whole.kubernetes, operator_pods(whole.kubernetes))
        scale_model(whole, 3)
        whole.workloads.kubectl("delete", "pod", whole.pods(ROUTER_PODS)[0])
        assert_each_gets_traffic(whole)
        scale_model(whole, 2)
        whole.wait_until_ready()
        assert_changes_work(whole, "llama-8b")
    traffic.assert_unharmed()
    after = restarts(operator_pods(whole.kubernetes))
    assert after == {key: count + 1 for key, count in before.items()}


def test_killed_containers_of_a_router_come_back_without_an_operator(whole: Routed) -> None:
    """The agent begins from what it kept, Envoy from what the agent gives it."""
    found = pods(whole.kubernetes, whole.workloads.namespace, ROUTER_PODS)
    before = restarts(found)
    with no_operator(whole.kubernetes):
        for name in ("agent", "envoy"):
            kill_containers(whole.kubernetes, found, name)

            def came_back(name: str = name) -> bool:
                now = pods(whole.kubernetes, whole.workloads.namespace, ROUTER_PODS)
                counts = restarts(now)
                return all(
                    counts[key] == before[key] + 1 for key in counts if key[1] == name
                ) and all(
                    {part: condition[part] for part in ("type", "status")}
                    == {"type": "Ready", "status": "True"}
                    for pod in now
                    for condition in pod["status"]["conditions"]
                    if condition["type"] == "Ready"
                )

            eventually(came_back, within=60)
            found = pods(whole.kubernetes, whole.workloads.namespace, ROUTER_PODS)
        with running_traffic(whole.base_url, MODEL) as traffic:
            assert_each_gets_traffic(whole)
        traffic.assert_unharmed()


def test_a_minute_without_an_api_server_costs_nothing_and_ends_by_itself(whole: Routed) -> None:
    kubernetes = whole.kubernetes
    if not kubernetes.is_own:
        pytest.skip("the API server of somebody else's cluster is not stopped")

    def everything() -> str:
        routers = pods(kubernetes, whole.workloads.namespace, ROUTER_PODS)
        return digest([*routers, *operator_pods(kubernetes)])

    before = everything()
    with running_traffic(whole.base_url, MODEL) as traffic:
        began = time.monotonic()
        kubernetes.stop_api_server()
        time.sleep(OUTAGE_SECONDS)
        kubernetes.start_api_server()
        back = time.monotonic()
        kubernetes.restart_controllers()
        # Routes change, Deployments are scaled, and routers follow.
        assert_changes_work(whole, "llama-8b")
        changed = time.monotonic()
        scale_model(whole, 3)
        assert_each_gets_traffic(whole)
    print(
        f"\n{back - began:.0f} s without an API server; a route is changed {changed - back:.1f} s "
        f"later; {traffic.answered + traffic.streamed} requests in all"
    )
    traffic.assert_unharmed()
    assert everything() == before
