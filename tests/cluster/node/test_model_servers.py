"""A pool's planned servers on a node, simulated: they get a GPU, load, answer, and go in peace."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from openai import OpenAI

from cluster.kubernetes.access import Kubernetes
from cluster.node.pools import GPU, model_pool, pretend_gpus
from cluster.node.workloads import Workloads
from modelrouter.api.pool import ModelPool
from modelrouter.plan.vllm import plan_pool_children

POOL = "llama"
DEPLOYMENT = f"deployment/model-pool-{POOL}"
MODEL = f"acme/{POOL}"


def run_servers(workloads: Workloads, **pool: Any) -> None:
    """Apply what the operator would apply."""
    given = model_pool(POOL, **pool)
    given["metadata"]["namespace"] = workloads.namespace
    workloads.apply(*plan_pool_children(ModelPool.model_validate(given)))


def until(met: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 90
    while not met():
        assert time.monotonic() < deadline, what
        time.sleep(0.5)


def pods(workloads: Workloads) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = workloads.get("pods")["items"]
    return listed


def test_servers_wait_for_a_gpu_load_and_answer(
    kubernetes: Kubernetes, workloads: Workloads
) -> None:
    pretend_gpus(kubernetes, 0)
    run_servers(
        workloads,
        replicas=2,
        loraAdapters=[{"name": "support-de", "source": "hf://acme/support-de"}],
        environment={"LOAD_SECONDS": 3, "DOWNLOAD_SECONDS": 1},
    )

    def unschedulable() -> bool:
        conditions = [pod["status"].get("conditions") or [] for pod in pods(workloads)]
        waiting = [c for found in conditions for c in found if c.get("reason") == "Unschedulable"]
        return len(waiting) == 2 and all(GPU in c["message"] for c in waiting)

    until(unschedulable, "two pods that wait for a GPU")
    pretend_gpus(kubernetes)
    workloads.kubectl("rollout", "status", DEPLOYMENT, "--timeout=100s")
    for pod in pods(workloads):
        url = f"http://{pod['status']['podIP']}:8000"
        adapter = {"lora_name": "support-de", "lora_path": "acme/support-de"}
        httpx.post(f"{url}/v1/load_lora_adapter", json=adapter).raise_for_status()
        client = OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0)
        for model in (MODEL, "support-de"):
            answer = client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": "Hello!"}]
            )
            assert answer.model == model
            assert answer.choices[0].message.content


def test_a_stream_survives_that_its_pod_goes(workloads: Workloads) -> None:
    run_servers(
        workloads,
        resources={},
        drainTimeout="60s",
        environment={"PER_TOKEN_MS": 50, "TOKENS": 240},
    )
    workloads.kubectl("rollout", "status", DEPLOYMENT, "--timeout=100s")
    (pod,) = pods(workloads)
    url = f"http://{pod['status']['podIP']}:8000/v1/chat/completions"
    body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "Hello!"}]}
    with httpx.stream("POST", url, json=body, timeout=30) as answer:
        lines = answer.iter_lines()
        next(lines)
        workloads.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false")
        data = [line.removeprefix("data: ") for line in lines if line]
    assert data[-1] == "[DONE]"
    events = [json.loads(line) for line in data[:-1]]
    assert len([e for e in events if e["choices"][0]["delta"].get("content")]) == 240
    assert events[-1]["choices"][0]["finish_reason"] == "stop"
    started = time.monotonic()
    workloads.kubectl("wait", "--for=delete", f"pod/{pod['metadata']['name']}", "--timeout=60s")
    # It ends when its last stream has, long before its grace period of 85 s is over.
    assert time.monotonic() - started < 40


@pytest.mark.parametrize(
    ("knobs", "status", "log"),
    [
        ({"LOAD_ERROR": "ValueError: No available memory"}, 1, "ValueError: No available memory"),
        ({"FAULTS": '{"mode": "engine_death"}'}, 0, "EngineCore encountered a fatal error"),
    ],
)
def test_a_server_that_ends_says_why(
    workloads: Workloads, knobs: dict[str, str], status: int, log: str
) -> None:
    run_servers(workloads, resources={}, environment=knobs)

    def ended() -> dict[str, Any] | None:
        for pod in pods(workloads):
            for container in pod["status"].get("containerStatuses") or []:
                if state := container["lastState"].get("terminated"):
                    return dict(state)
                if container["ready"]:
                    ask_to_death(pod["status"]["podIP"])
        return None

    def ask_to_death(address: str) -> None:
        body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}]}
        answer = httpx.post(f"http://{address}:8000/v1/chat/completions", json=body)
        assert answer.status_code == 500

    until(ended, "a container that was started again")
    state = ended() or {}
    assert state["exitCode"] == status
    # Of a container that ends without an error the kubelet keeps no last words.
    assert (log in state.get("message", "")) == (status != 0)
    assert log in workloads.kubectl("logs", "--previous", DEPLOYMENT)
