"""The operator stopped or killed, containers killed, and what one sees of pods meanwhile."""

from __future__ import annotations

import json
import os
import secrets
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import openai
import pytest

from cluster.control_plane.controller.waiting import eventually
from cluster.kubernetes.access import Kubernetes
from cluster.node.installation import RELEASE, SYSTEM, Routed
from cluster.node.workloads import MODEL_PORT

Object = dict[str, Any]

OPERATOR_PODS = "app.kubernetes.io/component=operator"
ROUTER_PODS = "app.kubernetes.io/component=router"
REPLICAS = 2
"""Of the operator and of each router."""


def pods(kubernetes: Kubernetes, namespace: str, selector: str) -> list[Object]:
    """Pods that are not on their way out."""
    listed = kubernetes.get("pods", "-n", namespace, "-l", selector)["items"]
    return [pod for pod in listed if "deletionTimestamp" not in pod["metadata"]]


def operator_pods(kubernetes: Kubernetes) -> list[Object]:
    """The operator's."""
    return pods(kubernetes, SYSTEM, OPERATOR_PODS)


def containers(found: list[Object]) -> dict[tuple[str, str], Object]:
    """Statuses of all containers, by pod and container."""
    return {
        (pod["metadata"]["name"], status["name"]): status
        for pod in found
        for kind in ("initContainerStatuses", "containerStatuses")
        for status in pod["status"].get(kind, [])
    }


def restarts(found: list[Object]) -> dict[tuple[str, str], int]:
    """How often each container was started again."""
    return {key: status["restartCount"] for key, status in containers(found).items()}


@contextmanager
def no_operator(kubernetes: Kubernetes) -> Iterator[None]:
    """No operator's pod is there; afterwards they are back."""
    scale_operator(kubernetes, 0)
    try:
        yield
    finally:
        scale_operator(kubernetes, REPLICAS)


def scale_operator(kubernetes: Kubernetes, replicas: int) -> None:
    """Have so many pods of the operator, and return when they are there, or gone."""
    here = ("-n", SYSTEM)
    kubernetes.kubectl("scale", f"deployment/{RELEASE}", f"--replicas={replicas}", *here)
    kubernetes.kubectl("rollout", "status", f"deployment/{RELEASE}", "--timeout=100s", *here)
    count = "jsonpath={.items[*].metadata.name}"
    listed = ("get", "pods", *here, "-l", OPERATOR_PODS, "-o", count)
    eventually(lambda: len(kubernetes.kubectl(*listed).split()) == replicas, within=60)


def kill_containers(kubernetes: Kubernetes, found: list[Object], name: str = "") -> None:
    """`kill -9` all processes of the pods' containers, or of those of this name."""
    signal_containers(kubernetes, found, name)


def signal_containers(
    kubernetes: Kubernetes,
    found: list[Object],
    name: str = "",
    number: int = signal.SIGKILL,
    *,
    all_run: bool = True,
) -> None:
    """Send a signal to all processes of the pods' containers, or of those of this name.

    Only on the harness's own node, whose processes are this machine's. With `all_run` it is an
    error if a container does not run.
    """
    if not kubernetes.is_own:
        pytest.skip("processes of somebody else's node are not killed")
    wanted = {
        status.get("containerID", "").partition("://")[2]
        for (_, container), status in containers(found).items()
        if name in ("", container)
    }
    assert all(wanted) or not all_run, "a container does not run"
    wanted.discard("")
    reached = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            group = (folder / "cgroup").read_text()
            if mine := {each for each in wanted if each in group}:
                os.kill(int(folder.name), number)
                reached |= mine
    assert reached == wanted or not all_run, "no process was found for a container"


def requests_of(routed: Routed, pod: str) -> int:
    """How many requests the simulated server in a pod has answered."""
    address = routed.workloads.get("pod", pod)["status"]["podIP"]
    with urllib.request.urlopen(f"http://{address}:{MODEL_PORT}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    counts = [line for line in lines if line.startswith("vllm:request_success_total")]
    return int(sum(float(line.rpartition(" ")[2]) for line in counts))


def assert_changes_work(routed: Routed, pool: str, within: float = 90) -> None:
    """A new route is served and says so, and is refused once it is deleted."""
    name = f"probe-{secrets.token_hex(3)}"
    client = openai.OpenAI(base_url=routed.base_url, api_key="unused", max_retries=0, timeout=20)

    def ask() -> bool:
        client.chat.completions.create(
            model=name, messages=[{"role": "user", "content": "Hello!"}], max_tokens=1
        )
        return True

    def refused() -> bool:
        try:
            ask()
        except openai.NotFoundError:
            return True
        return False

    routed.workloads.apply(
        {
            "apiVersion": "modelrouter.dev/v1alpha1",
            "kind": "ModelRoute",
            "metadata": {"name": name},
            "spec": {"models": [name], "pools": [pool]},
        }
    )
    ready = ("wait", "--for=condition=Ready", f"mroute/{name}", f"--timeout={within:.0f}s")
    routed.workloads.kubectl(*ready)
    assert ask()
    routed.workloads.kubectl("delete", "mroute", name)
    eventually(refused, within=within)


def digest(found: list[Object]) -> str:
    """Which pods and containers these are: equal as long as none was replaced or restarted."""
    ids = {
        "/".join(key): [status["containerID"], status["restartCount"]]
        for key, status in containers(found).items()
    }
    return json.dumps(ids, sort_keys=True, indent=1)
