"""`helm upgrade` while clients ask: the operator and the routers are replaced, no request fails."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.control_plane.controller.waiting import eventually
from cluster.kubernetes.access import Kubernetes
from cluster.kubernetes.images import operator_image_name
from cluster.kubernetes.node import CONTAINERD_SOCKET
from cluster.node.away import (
    ROUTER_PODS,
    assert_changes_work,
    operator_pods,
    pods,
)
from cluster.node.installation import (
    CHART,
    MODEL,
    RELEASE,
    ROUTER,
    SYSTEM,
    Routed,
    install_operator,
)
from cluster.node.traffic import running_traffic

PREVIOUS = "0.0.9"


@pytest.fixture
def previous(example: Routed, tmp_path: Path) -> Iterator[str]:
    """The release before this one runs: its chart, and the same image by that version's name."""
    kubernetes = example.kubernetes
    image = f"{operator_image_name().rpartition(':')[0]}:{PREVIOUS}"
    _tag(kubernetes, operator_image_name(), image)
    version = (f"--version={PREVIOUS}", f"--app-version={PREVIOUS}")
    kubernetes.helm("package", str(CHART), *version, "--destination", str(tmp_path))
    (package,) = tmp_path.glob("*.tgz")
    try:
        kubernetes.helm("upgrade", RELEASE, str(package), "-n", SYSTEM, "--wait", "--timeout=120s")
        assert _charts(kubernetes) == f"model-router-{PREVIOUS}"
        _wait_for_image(example, image)
        yield image
    finally:
        install_operator(kubernetes)
        _wait_for_image(example, operator_image_name())
        example.wait_until_ready()


def test_an_upgrade_of_the_chart_costs_no_request(example: Routed, previous: str) -> None:
    example.wait_until_ready()
    with running_traffic(example.base_url, MODEL) as traffic:
        install_operator(example.kubernetes)
        _wait_for_image(example, operator_image_name())
        example.wait_until_ready()
        assert_changes_work(example, "llama-8b")
    traffic.assert_unharmed()
    assert previous not in str(_images(example))
    assert _charts(example.kubernetes) != f"model-router-{PREVIOUS}"


def _tag(kubernetes: Kubernetes, image: str, name: str) -> None:
    if kubernetes.own is None:
        pytest.skip("images are not given other names on somebody else's node")
    socket = str(kubernetes.own.run / CONTAINERD_SOCKET)
    ctr = [str(kubernetes.own.tools / "bin" / "ctr"), "-a", socket, "-n", "k8s.io", "images", "tag"]
    subprocess.run([*ctr, "--force", image, name], check=True, capture_output=True)


def _charts(kubernetes: Kubernetes) -> str:
    """The chart of the release, with its version."""
    listed = kubernetes.helm("list", "-n", SYSTEM, "--filter", f"^{RELEASE}$", "--output=json")
    (release,) = json.loads(listed)
    return str(release["chart"])


def _images(routed: Routed) -> set[str]:
    """Of the operator and of the agents."""
    found = [
        *operator_pods(routed.kubernetes),
        *pods(routed.kubernetes, routed.workloads.namespace, ROUTER_PODS),
    ]
    return {
        container["image"]
        for pod in found
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
        if container["name"] != "envoy"
    }


def _wait_for_image(routed: Routed, image: str) -> None:
    """The operator and the routers run it, and nothing else runs."""
    eventually(lambda: image in _images(routed) and len(_images(routed)) == 1, within=180)
    rollout = ("rollout", "status", f"deployment/{ROUTER}", "--timeout=100s")
    routed.workloads.kubectl(*rollout)
