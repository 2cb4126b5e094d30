"""A ModelPool with the real vLLM: from `kubectl apply` to a stream, and through a restart."""

from __future__ import annotations

import re
import time
import urllib.request
from pathlib import Path
from typing import IO, Any

import openai
import pytest

from cluster.control_plane.controller.waiting import eventually
from cluster.node.pools import Pools
from vllm.figures import note
from vllm.overlay import CONTAINER
from vllm.pods.pool import ADAPTER, DRAIN_SECONDS, MODEL, OTHER_ADAPTER, POOL, SERVED, adapter
from vllm.pods.samples import server_address, tokens_of_routers, tokens_of_vllm
from vllm.pods.starting import START_SECONDS, Start, all_ready
from vllm.pods.streams import read_stream, streaming

POD_LOGS = Path("/var/log/pods")
DEPLOYMENT = f"deployment/model-pool-{POOL}"
LONG = 9000
"""Tokens: a stream of half a minute, far longer than the seconds between the removal of a pod and
its SIGTERM."""


@pytest.fixture(autouse=True)
def served(start: Start) -> Start:
    """It serves."""
    return start


@pytest.fixture
def client(pools: Pools) -> openai.OpenAI:
    """The official client."""
    return openai.OpenAI(base_url=pools.base_url, api_key="unused", max_retries=0, timeout=60)


def said(client: openai.OpenAI, model: str) -> str:
    """What it always says."""
    answer = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "hi"}],
        max_tokens=8,
        temperature=0,
        extra_body={"ignore_eos": True},
    )
    return answer.choices[0].message.content or ""


def test_a_pool_goes_from_apply_to_a_streamed_answer(start: Start, pools: Pools) -> None:
    assert any("ModelLoading" in message for message in start.said), start.said
    stream = read_stream(pools.base_url, MODEL, tokens=200)
    note(f"from apply to Ready: {start.seconds:.0f} s, of them vLLM's own {start.load_seconds:.0f}")
    note(
        f"first token after {stream.first_token * 1000:.0f} ms, "
        f"{stream.tokens} tokens in {stream.seconds:.1f} s"
    )
    for message in start.said:
        note(f"meanwhile the pool said: {message}")


def test_answers_tell_their_pool(client: openai.OpenAI) -> None:
    answer = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=[{"role": "user", "content": "hi"}], max_tokens=4
    )
    assert answer.headers["x-mr-pool"] == POOL
    assert answer.parse().model in (MODEL, SERVED)


def test_what_vllm_refuses_reaches_the_client(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "hi"}], max_tokens=100_000
        )
    assert refused.value.param == "max_tokens"


def test_metrics_of_vllm_and_of_the_router_agree(pools: Pools) -> None:
    vllm = eventually(lambda: tokens_of_vllm(pools), within=30, every=1)
    routers = tokens_of_routers(pools)
    read_stream(pools.base_url, MODEL, tokens=300)
    eventually(lambda: tokens_of_vllm(pools) == vllm + 300, within=30, every=1)
    eventually(lambda: tokens_of_routers(pools) == routers + 300, within=30, every=1)


def test_adapters_come_and_go_on_the_running_server(pools: Pools, client: openai.OpenAI) -> None:
    container = _container(pools)
    base = said(client, MODEL)
    first = said(client, ADAPTER)
    assert first != base, "the adapter makes no difference"

    began = time.monotonic()
    pools.patch(POOL, loraAdapters=[adapter(ADAPTER), adapter(OTHER_ADAPTER)])
    route = {
        "apiVersion": "modelrouter.dev/v1alpha1",
        "kind": "ModelRoute",
        "metadata": {"name": OTHER_ADAPTER},
        "spec": {"models": [OTHER_ADAPTER], "pools": [f"{POOL}/{OTHER_ADAPTER}"]},
    }
    pools.apply(route, ready=False)
    eventually(lambda: all_ready(pools), within=60)
    note(f"an adapter is routable {time.monotonic() - began:.1f} s after apply")
    assert said(client, OTHER_ADAPTER) not in (base, first)

    pools.workloads.kubectl("delete", "mroute", OTHER_ADAPTER)
    pools.patch(POOL, loraAdapters=[adapter(ADAPTER)])
    listed = f"{server_address(pools)}/v1/models"

    def unloaded() -> bool:
        with urllib.request.urlopen(listed, timeout=10) as answer:
            return OTHER_ADAPTER not in answer.read().decode()

    eventually(unloaded, within=60, every=1)
    assert said(client, ADAPTER) == first
    assert _container(pools) == container


def test_a_rolling_restart_cuts_no_stream(pools: Pools) -> None:
    (old,) = _names_of(pools)
    wanted = [(MODEL, LONG), (MODEL, LONG), (ADAPTER, LONG), (ADAPTER, 1)]
    with _opened_log(pools.pods(POOL)) as log, streaming(pools.base_url, wanted) as streams:
        eventually(lambda: streams.begun >= len(wanted), within=30)
        began = time.monotonic()
        pools.workloads.kubectl("rollout", "restart", DEPLOYMENT)
        eventually(lambda: _names_of(pools) - {old}, within=60)
        eventually(lambda: old not in _names_of(pools), within=START_SECONDS, every=0.5)
        replaced = time.monotonic() - began
        eventually(
            lambda: old not in _names_of(pools, leaving=True), within=DRAIN_SECONDS + 60, every=0.5
        )
        gone = time.monotonic() - began
        text = log.read()
        time.sleep(2)
    eventually(lambda: all_ready(pools), within=60)
    whole = streams.whole
    long = sum(stream.tokens == LONG for stream in whole)
    note(
        f"rolling restart: the new pod took over after {replaced:.0f} s, the old one was gone "
        f"after {gone:.0f} s; whole were {long} streams of {LONG} tokens and {len(whole) - long} "
        f"short ones, not whole {len(streams.failures)}"
    )
    assert not streams.failures, streams.failures
    assert {(stream.model, stream.tokens) for stream in whole} == set(wanted)
    draining = re.search(r"draining in-flight requests count=(\d+)", text)
    assert draining, f"nothing was left to drain, or vLLM was killed:\n{text[-3000:]}"
    note(f"of them {draining[1]} were finished by the old pod after its SIGTERM")
    assert "force killing" not in text
    assert "Application shutdown complete" in text


def _container(pools: Pools) -> Any:
    (pod,) = pools.pods(POOL)
    return pod["status"]["containerStatuses"][0]["containerID"]


def _names_of(pools: Pools, *, leaving: bool = False) -> set[str]:
    return {pod["metadata"]["name"] for pod in pools.pods(POOL, leaving=leaving)}


def _opened_log(pods: list[Any]) -> IO[str]:
    """What a pod says, which is in a file of this machine; an open one outlasts its pod."""
    (metadata,) = (pod["metadata"] for pod in pods)
    folder = "_".join((metadata["namespace"], metadata["name"], metadata["uid"]))
    return (POD_LOGS / folder / CONTAINER / "0.log").open(encoding="utf-8", errors="replace")
