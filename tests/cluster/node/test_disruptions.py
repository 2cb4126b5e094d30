"""What goes while clients ask: model pods, router pods, the operator. No request fails."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from cluster.node.away import operator_pods
from cluster.node.installation import MODEL, RELEASE, ROUTER, SYSTEM, Routed
from cluster.node.traffic import running_traffic

ROUTER_PODS = "app.kubernetes.io/component=router"
OPERATOR = f"deployment/{RELEASE}"


def delete_a_model_pod(routed: Routed) -> None:
    """As a rollout of the model does."""
    routed.workloads.kubectl("delete", "pod", routed.pods("app=llama-8b")[0])


def kill_a_model_pod(routed: Routed) -> None:
    """As a crash of the node does: no drain, no goodbye."""
    pod = routed.pods("app=llama-8b")[0]
    routed.workloads.kubectl("delete", "pod", pod, "--grace-period=0", "--force")


def delete_a_router_pod(routed: Routed) -> None:
    """It drains first."""
    routed.workloads.kubectl("delete", "pod", routed.pods(ROUTER_PODS)[0])


def restart_the_routers(routed: Routed) -> None:
    """One after the other, new ones first."""
    routed.workloads.kubectl("rollout", "restart", f"deployment/{ROUTER}")
    routed.workloads.kubectl("rollout", "status", f"deployment/{ROUTER}", "--timeout=180s")


def restart_the_operator(routed: Routed) -> None:
    """Routers need it only for what changes."""
    kubectl = routed.kubernetes.kubectl
    kubectl("rollout", "restart", OPERATOR, "-n", SYSTEM)
    kubectl("rollout", "status", OPERATOR, "-n", SYSTEM, "--timeout=180s", timeout=200)


def evict_every_pod_in_turn(routed: Routed) -> None:
    """As `kubectl drain` does, one pod at a time, and as fast as the budgets allow."""
    for selector in ("app=llama-8b", "app=qwen-32b", "app=provider", ROUTER_PODS):
        for pod in routed.pods(selector):
            evict(routed, pod)
            routed.wait_until_ready()
    for operator in operator_pods(routed.kubernetes):
        evict(routed, operator["metadata"]["name"], SYSTEM)
        rollout = ("rollout", "status", OPERATOR, "-n", SYSTEM, "--timeout=180s")
        routed.kubernetes.kubectl(*rollout, timeout=200)


def evict(routed: Routed, pod: str, namespace: str = "") -> None:
    """Wait for the budget's leave as long as `kubectl drain` would."""
    deadline = time.monotonic() + 120
    while not routed.evict(pod, namespace):
        assert time.monotonic() < deadline, f"{pod} may not be evicted"
        time.sleep(0.5)


@pytest.mark.parametrize(
    "disrupt",
    [
        delete_a_model_pod,
        kill_a_model_pod,
        delete_a_router_pod,
        restart_the_routers,
        restart_the_operator,
        evict_every_pod_in_turn,
    ],
    ids=lambda function: function.__name__,
)
def test_no_request_fails(example: Routed, disrupt: Callable[[Routed], None]) -> None:
    example.wait_until_ready()
    with running_traffic(example.base_url, MODEL) as traffic:
        disrupt(example)
        example.wait_until_ready()
    traffic.assert_unharmed()
