"""Why a pool is not ready, in one line: every state that its pods can be in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from cluster.control_plane.controller.operators import Installation, Operator
from cluster.control_plane.controller.resources import Resources
from cluster.control_plane.controller.serverpods import (
    conditions,
    ended,
    list_endpoint,
    pod_names,
    report,
    report_ready,
    running,
    vllm_pool,
    waiting,
)
from cluster.control_plane.controller.waiting import eventually

LOG = """\
(APIServer pid=1) INFO 01-01 11:50:41 [api_server.py:1900] vLLM API server version 0.33.0
(EngineCore pid=72) ERROR 01-01 11:50:59 [core.py:700] ValueError: No GPU memory for the KV cache.
(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above.
"""


class State(NamedTuple):
    """What happens to a pod, and what is told of it."""

    reason: str
    told: str
    """Regular expression that the message matches."""
    status: dict[str, Any]


def unscheduled(message: str) -> dict[str, Any]:
    told = {"reason": "Unschedulable", "message": message}
    return {"conditions": [{"type": "PodScheduled", "status": "False", **told}]}


def with_container(status: dict[str, Any], ready_since: float = 3600) -> dict[str, Any]:
    return {
        "conditions": conditions(ready=False, since=ready_since),
        "containerStatuses": [status],
    }


def walk() -> Iterator[State]:
    """One state after the other. Times count from the moment in which a state is asked for."""
    yield State("PodStarting", "has been waiting for a node for less than a minute", {})
    yield State(
        "Unschedulable",
        r"no node has enough nvidia.com/gpu free for pod \S+ .*ask for less in spec.vllm.resources",
        unscheduled(
            "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are "
            "available: 3 No preemption victims found for incoming pod."
        ),
    )
    yield State(
        "VolumeNotBound",
        "waits for its volume: .*unbound immediate PersistentVolumeClaims.*kubectl describe pvc",
        unscheduled("0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims."),
    )
    yield State(
        "PodStarting",
        "has been pulling its image or mounting its volumes for over 1 hour",
        with_container(waiting("ContainerCreating")),
    )
    yield State(
        "ImagePullFailed",
        "image vllm/vllm-openai:v0.33.0 of pod .* cannot be pulled: .*not found; correct",
        with_container(
            waiting(
                "ImagePullBackOff",
                'Back-off pulling image "vllm/vllm-openai:v0.33.0": ErrImagePull: rpc error: '
                "code = NotFound desc = docker.io/vllm/vllm-openai:v0.33.0: not found",
            )
        ),
    )
    yield State(
        "SecretNotFound",
        r"there is no Secret test-\w+/hf, which pod \S+ needs; create it",
        with_container(waiting("CreateContainerConfigError", 'secret "hf" not found')),
    )
    yield State(
        "SecretKeyNotFound",
        r"has no key token, which pod \S+ needs; add it",
        with_container(
            waiting("CreateContainerConfigError", "couldn't find key token in Secret ns/hf")
        ),
    )
    yield State(
        "ContainerNotStarted",
        "container vllm of pod .* cannot be started: .*executable file not found",
        with_container(
            waiting("RunContainerError", 'exec: "vllm": executable file not found in $PATH')
        ),
    )
    yield State(
        "ModelLoading",
        r"has been loading the model for over 5 minutes; it may take 30m \(spec.vllm.startupTim",
        with_container(running(400)),
    )
    yield State(
        "CrashLooping",
        r"ended 3 times \(exit code 1\) and last said: ValueError: No GPU memory for the KV cache; "
        "see: kubectl logs --previous -n",
        with_container(waiting("CrashLoopBackOff", restartCount=3, lastState=ended(1, LOG))),
    )
    yield State(
        "CrashLooping",
        r"ended 4 times .* ValueError: No GPU memory",  # also while it loads once more
        with_container(running(5, restartCount=4, lastState=ended(1, LOG))),
    )
    yield State(
        "CrashLooping",
        r"took more memory than its limit \(OOMKilled\); raise limits.memory",
        with_container(
            waiting("CrashLoopBackOff", restartCount=5, lastState=ended(137, "", "OOMKilled"))
        ),
    )
    yield State(
        "ProbeFailing",
        "model was not loaded within 30m; raise spec.vllm.startupTimeout",
        with_container(running(5, restartCount=1, lastState=ended(137, lasted=1800))),
    )
    yield State(
        "ProbeFailing",
        "runs, but has not answered its readiness probe, GET /health, for over 2 minutes",
        with_container(running(3000, started=True), ready_since=130),
    )


def test_every_state_of_a_pod_is_told_in_one_line(
    operator: Operator, resources: Resources, namespace: str
) -> None:
    here = resources
    here.apply(vllm_pool("llama"))
    (pod,) = pod_names(here, "llama")
    for state in walk():
        if state.status:
            report(here, pod, **{"containerStatuses": [], **state.status})

        def told(state: State = state) -> bool:
            here.expect("mpool", "llama", within=5, Ready=("False", state.reason))
            message = here.message("mpool", "llama", "Ready")
            assert re.search(state.told, message), message
            assert here.message("mpool", "llama", "PodsReady") == message
            assert "\n" not in message
            assert len(message) < 600
            return True

        eventually(told, within=40)
        # What people look at shows it.
        described = here.kubernetes.kubectl("describe", "mpool", "llama", "-n", namespace)
        assert re.search(state.told, described), described
    report_ready(here, pod, "10.1.2.3")
    list_endpoint(here, "llama")
    here.expect(
        "mpool", "llama",
        PodsReady=("True", "PodsReady"), Ready=("True", "EndpointsReady"),
    )  # fmt: skip
    shown = here.kubernetes.kubectl("get", "mpool", "-n", namespace)
    assert re.search(r"llama +acme/llama +vllm +1/1 +.*True", shown), shown
    status = here.get("mpool", "llama")["status"]
    assert status["replicas"] == 1
    found = here.kubernetes.kubectl("get", "pods", "-n", namespace, "-l", status["selector"])
    assert pod in found
    warnings = [reason for kind, reason in here.events("ModelPool", "llama") if kind == "Warning"]
    assert set(warnings) == {state.reason for state in walk()} - {"PodStarting", "ModelLoading"}


def test_pods_that_a_quota_refuses(
    operator: Operator, resources: Resources, installation: Installation
) -> None:
    here = resources
    here.limit("gpus", **{"requests.nvidia.com/gpu": "1"})
    here.apply(vllm_pool("llama", replicas=2))
    here.expect("mpool", "llama", within=60, PodsReady=("False", "PodsNotCreated"))
    message = here.message("mpool", "llama", "PodsReady")
    assert "pods cannot be created: exceeded quota: gpus" in message
    assert "raise the quota, or ask for less" in message
    # One is there, and serves.
    (pod,) = pod_names(here, "llama")
    report_ready(here, pod, "10.1.2.4")
    list_endpoint(here, "llama")
    here.expect(
        "mpool", "llama",
        PodsReady=("False", "PodsNotCreated"), Ready=("True", "EndpointsReady"),
    )  # fmt: skip
    assert "exceeded quota: gpus" in here.message("mpool", "llama", "Ready")
    # The ReplicaSet tries again and again, each time with another name: no reason to write.
    operator.settle()
    count = len(installation.writes())
    events = here.kubernetes.kubectl("get", "events", "-n", here.namespace).count("FailedCreate")
    assert events
    eventually(
        lambda: (
            len(installation.writes(since=count)) == 0
            and operator.metric("modelrouter_queue_depth") == 0
        )
    )


def test_a_pool_without_replicas_and_one_that_a_request_starts(
    operator: Operator, resources: Resources
) -> None:
    here = resources
    target = {"minReplicas": 0, "maxReplicas": 2, "target": {"runningRequests": 8}}
    here.apply(vllm_pool("off", replicas=0), vllm_pool("asleep", autoscaling=target))
    here.expect("mpool", "off", Ready=("False", "ScaledToZero"), within=60)
    assert "spec.vllm.replicas is 0" in here.message("mpool", "off", "Ready")
    here.expect("mpool", "asleep", Ready=("True", "ScaledToZero"), within=60)
    assert "the next request starts one" in here.message("mpool", "asleep", "Ready")


def test_a_rollout_that_gets_stuck(
    operator: Operator, resources: Resources, namespace: str
) -> None:
    here, name = resources, "deployment/model-pool-llama"
    here.apply(vllm_pool("llama"))
    (old,) = pod_names(here, "llama")
    report_ready(here, old, "10.1.2.5")
    list_endpoint(here, "llama")
    here.expect("mpool", "llama", PodsReady=("True", "PodsReady"))

    # The image of the new version does not exist; the old one serves on.
    here.apply(vllm_pool("llama", image="vllm/vllm-openai:v0.99.0"))
    new = next(name for name in pod_names(here, "llama", 2) if name != old)
    told = waiting("ErrImagePull", "vllm/vllm-openai:v0.99.0: not found")
    report(here, new, **with_container({**told, "image": "vllm/vllm-openai:v0.99.0"}))
    here.expect(
        "mpool", "llama",
        PodsReady=("False", "ImagePullFailed"), Ready=("True", "EndpointsReady"),
    )  # fmt: skip
    message = here.message("mpool", "llama", "Ready")
    assert re.search(r"v0.99.0 of pod \S+ cannot be pulled", message), message

    # Taken back: all is as before, and nothing was started again.
    here.apply(vllm_pool("llama"))
    here.expect("mpool", "llama", PodsReady=("True", "PodsReady"), within=60)
    assert pod_names(here, "llama") == [old]

    # Somebody pauses the Deployment: a change does not get to the pods.
    here.kubernetes.kubectl("rollout", "pause", name, "-n", namespace)
    here.apply(vllm_pool("llama", image="vllm/vllm-openai:v0.34.0"))
    here.expect("mpool", "llama", PodsReady=("False", "RolloutStuck"), within=60)
    message = here.message("mpool", "llama", "PodsReady")
    assert f"kubectl rollout resume -n {namespace} {name}" in message
    assert "1 of the version before still serves" in message


def test_a_loading_model_costs_no_writes(
    operator: Operator, resources: Resources, installation: Installation
) -> None:
    here = resources
    here.apply(vllm_pool("llama"))
    (pod,) = pod_names(here, "llama")
    report(here, pod, **with_container(running(61)))
    here.expect("mpool", "llama", Ready=("False", "ModelLoading"))
    operator.settle()
    count = len(installation.writes())
    for started in (63, 66, 70):
        report(here, pod, **with_container(running(started)))
    operator.settle()
    assert installation.writes(since=count) == []
    assert "for over 1 minute;" in here.message("mpool", "llama", "Ready")


def test_a_new_leader_writes_nothing_about_pools_as_they_are(
    installation: Installation, resources: Resources
) -> None:
    here, first = resources, installation.operator("first").lead()
    here.apply(vllm_pool("good"), vllm_pool("bad"))
    (good,), (bad,) = pod_names(here, "good"), pod_names(here, "bad")
    report_ready(here, good, "10.1.2.6")
    list_endpoint(here, "good")
    report(here, bad, **with_container(waiting("ErrImagePull", "no such image")))
    here.expect("mpool", "good", within=60, Ready=("True", "EndpointsReady"))
    here.expect("mpool", "bad", within=60, Ready=("False", "ImagePullFailed"))
    first.settle()
    first.stop()
    count = len(installation.writes())
    second = installation.operator("second").lead()
    second.settle()
    assert installation.writes(since=count) == []
