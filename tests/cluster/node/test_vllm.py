"""Pools with `vllm`: the operator makes the pods, and whatever happens to them costs no request."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import openai
import pytest

from chaos.asking import Asking
from chaos.journals import Journals
from chaos.judging import judge
from cluster.control_plane.controller.waiting import eventually
from cluster.kubernetes.images import operator_image_name
from cluster.kubernetes.node import CONTAINERD_SOCKET
from cluster.node.installation import Routed
from cluster.node.pools import Pools, model_pool, model_route, removed_at

Object = dict[str, Any]

RATE = 50.0
"""Requests a second, half of them streams that take 5 seconds."""
STREAM_TOKENS, TOKEN_MS = 11, 500
SETTLE_SECONDS = 3.0
"""After this no request comes to a pod that goes: all watches, and the seconds of timestamps."""


@pytest.fixture
def served(pools: Pools) -> Pools:
    """A pool of two servers, and a route to it."""
    environment = {"FIRST_TOKEN_MS": 20, "PER_TOKEN_MS": TOKEN_MS, "LOAD_SECONDS": 1}
    pools.apply(
        model_pool("big", environment=environment, replicas=2),
        model_route("chat", "big"),
    )
    return pools


@contextmanager
def unharmed(pools: Pools) -> Iterator[None]:
    """Requests while the context lasts: all are answered, whole, and none by a pod that went."""
    removed: dict[str, float] = {}

    def servers() -> list[Object]:
        found = pools.pods("big", leaving=True)
        for pod in found:
            if moment := removed_at(pod):
                removed[pod["metadata"]["name"]] = moment
        return found

    with (
        Journals(servers, every=1.0) as journals,
        Asking(
            pools.base_url,
            "chat",
            rate=RATE,
            stream_tokens=(STREAM_TOKENS,),
            whole_tokens=(2,),
        ) as asking,
    ):
        time.sleep(2)
        yield
        time.sleep(2)
    visits = {id_: list(found.values()) for id_, found in journals.visits.items()}
    verdict = judge(asking.samples, visits, ())
    print(f"\n{verdict.requests} requests, p99 of whole answers {verdict.whole_p99:.2f} s")
    assert verdict.holds, verdict.problems
    assert verdict.streams > 50, "too few streams to tell"
    assert not verdict.duplicated
    late = [
        (visit.pod, visit.started - removed[visit.pod])
        for found in visits.values()
        for visit in found
        if visit.started > removed.get(visit.pod, time.time()) + SETTLE_SECONDS
    ]
    assert not late, f"requests came to pods after their removal: {late[:5]}"


def update_the_image(pools: Pools) -> None:
    """The same image by another name."""
    kubernetes = pools.workloads.kubernetes
    image = f"{operator_image_name().rpartition(':')[0]}:next"
    if kubernetes.own is None:
        pytest.skip("images are not given other names on somebody else's node")
    socket = str(kubernetes.own.run / CONTAINERD_SOCKET)
    ctr = [str(kubernetes.own.tools / "bin" / "ctr"), "-a", socket, "-n", "k8s.io", "images"]
    tag = [*ctr, "tag", "--force", operator_image_name(), image]
    subprocess.run(tag, check=True, capture_output=True)
    pools.patch("big", image=image)
    eventually(
        lambda: all(_image(pod) == image for pod in pools.pods("big", leaving=True)), within=120
    )


def scale_from_four_to_one(pools: Pools) -> None:
    """Three go at once."""
    pools.patch("big", replicas=4)
    eventually(lambda: len(_ready(pools)) == 4, within=60)
    pools.patch("big", replicas=1)
    eventually(lambda: len(pools.pods("big", leaving=True)) == 1, within=60)
    pools.patch("big", replicas=2)
    eventually(lambda: len(_ready(pools)) == 2, within=60)


def delete_a_pod(pools: Pools) -> None:
    """As somebody does by hand."""
    name = pools.pods("big")[0]["metadata"]["name"]
    pools.workloads.kubectl("delete", "pod", name)
    eventually(lambda: len(_ready(pools)) == 2, within=60)


def evict_every_pod_in_turn(pools: Pools) -> None:
    """As `kubectl drain` does; the budget allows one at a time."""
    routed = Routed(pools.workloads)
    first, second = (pod["metadata"]["name"] for pod in pools.pods("big"))
    assert routed.evict(first)
    assert not routed.evict(second), "two may go at once"
    eventually(lambda: routed.evict(second), within=60)
    eventually(lambda: len(_ready(pools)) == 2, within=60)
    assert not {first, second} & {pod["metadata"]["name"] for pod in pools.pods("big")}


def test_a_pool_goes_from_apply_to_an_answer(served: Pools) -> None:
    """Deployment, kubelet, probes, EndpointSlice, router: all of it is Kubernetes' own."""
    answer = _ask(_client(served), "chat")
    assert answer.model == "acme/big"
    assert served.status("mpool", "big")["Ready"].startswith("EndpointsReady")
    (container,) = served.pods("big")[0]["spec"]["containers"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    assert "--served-model-name=acme/big" in container["args"]
    served.workloads.kubectl("delete", "mroute,mpool", "--all")
    eventually(lambda: not served.pods("big", leaving=True), within=90)


def test_pods_that_go_cost_no_request(served: Pools) -> None:
    """One after the other, for a pool that is brought up once."""
    disruptions: list[Callable[[Pools], None]] = [
        update_the_image,
        scale_from_four_to_one,
        delete_a_pod,
        evict_every_pod_in_turn,
    ]
    with unharmed(served):
        for disrupt in disruptions:
            began = time.monotonic()
            disrupt(served)
            print(f"{disrupt.__name__}: {time.monotonic() - began:.0f} s")


def _client(pools: Pools) -> openai.OpenAI:
    return openai.OpenAI(base_url=pools.base_url, api_key="unused", max_retries=0, timeout=60)


def _ask(client: openai.OpenAI, model: str) -> openai.types.chat.ChatCompletion:
    return client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "Hello!"}], max_tokens=2
    )


def _image(pod: Object) -> str:
    return str(pod["spec"]["containers"][0]["image"])


def _ready(pools: Pools) -> list[Object]:
    return [
        pod
        for pod in pools.pods("big")
        for condition in pod["status"].get("conditions", [])
        if condition["type"] == "Ready" and condition["status"] == "True"
    ]
