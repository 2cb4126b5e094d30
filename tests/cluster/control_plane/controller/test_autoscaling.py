"""Autoscaling: as many replicas as the load needs, by this operator or by KEDA."""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from cluster.conftest import unavailable
from cluster.control_plane.controller.conftest import Install, Router
from cluster.control_plane.controller.operators import Installation, Operator
from cluster.control_plane.controller.resources import Resources
from cluster.control_plane.controller.waiting import eventually
from cluster.kubernetes.access import Kubernetes
from cluster.kubernetes.keda import scaled_object_definition
from cluster.kubernetes.problems import ClusterError
from component.router.manifests import route
from modelrouter.api.pool import ModelPool
from modelrouter.plan.vllm.scaled_object import plan_scaled_object

NAME = "model-pool-llama"


def pool(**vllm: Any) -> dict[str, Any]:
    """A pool of model servers that never get ready: there is no node."""
    return {
        "apiVersion": "modelrouter.dev/v1alpha1",
        "kind": "ModelPool",
        "metadata": {"name": "llama"},
        "spec": {"model": "acme/llama", "vllm": {"image": "vllm/vllm-openai:v0.33.0", **vllm}},
    }


def scaled(**autoscaling: Any) -> dict[str, Any]:
    """The same, autoscaled."""
    given = {"maxReplicas": 5, "target": {"runningRequests": 10}, "scaleDownDelay": "4s"}
    return pool(autoscaling={**given, **autoscaling})


def replicas(here: Resources) -> int:
    """What the Deployment asks for."""
    return int(here.get("deployment", NAME)["spec"]["replicas"])


def decided(here: Resources) -> tuple[int, str] | None:
    """What the pool's status says of the autoscaler."""
    found = here.get("mpool", "llama").get("status", {}).get("autoscaling")
    return (found["desiredReplicas"], found["reason"]) if found else None


@contextmanager
def following(here: Resources, file: Path) -> Iterator[Callable[[], list[int]]]:
    """Each number of replicas that the Deployment has asked for, repeats left out."""
    path = '{.spec.replicas}{"\\n"}'
    watch = ("get", "deployment", NAME, "-n", here.namespace, "--watch", "-o", f"jsonpath={path}")
    with file.open("w") as out:
        kubectl = subprocess.Popen(
            ["kubectl", *watch], env=here.kubernetes.environment, stdout=out, stderr=out
        )
    try:
        yield lambda: [int(n) for n, _ in itertools.groupby(file.read_text().split())]
    finally:
        kubectl.kill()
        kubectl.wait()


def calm(operator: Operator) -> None:
    """Wait until the operator has nothing to do for the objects of pools."""

    def worked() -> float:
        return operator.metric("modelrouter_reconcile_total", queue="pools")

    def quiet() -> bool:
        before = worked()
        time.sleep(1.5)
        waiting = operator.metric("modelrouter_queue_depth", queue="pools", state="waiting")
        return before == worked() and waiting == 0

    eventually(quiet, within=60)


def test_from_zero_and_back(
    operator: Operator, resources: Resources, router: Router, installation: Installation
) -> None:
    here = resources
    here.apply(scaled(minReplicas=0), route("chat", pools=["llama"]))
    eventually(lambda: NAME in here.names("deployment"))
    assert replicas(here) == 0
    pod = router()
    pod.tell("llama", 0)
    eventually(lambda: decided(here) == (0, "ScaledToZero"))

    began = time.monotonic()
    pod.tell("llama", 0, waiting=1)
    eventually(lambda: replicas(here) == 1, every=0.02)
    print(f"from the first request to the Deployment: {time.monotonic() - began:.2f} s")
    eventually(lambda: (decided(here) or (0, ""))[0] == 1)
    pod.tell("llama", 31, waiting=4, ready=1)
    eventually(lambda: replicas(here) == 4)
    pod.tell("llama", 200, ready=4)
    eventually(lambda: replicas(here) == 5)
    eventually(lambda: decided(here) == (5, "AtMaximum"))
    assert operator.metric("modelrouter_pool_desired_replicas", pool="llama") == 5
    assert operator.metric("modelrouter_pool_requests", pool="llama") == 200

    pod.tell("llama", 12, ready=5)
    eventually(lambda: replicas(here) == 2, within=60)
    pod.tell("llama", 0, ready=2)
    eventually(lambda: replicas(here) == 0, within=60)
    eventually(lambda: decided(here) == (0, "ScaledToZero"))
    told = [reason for _, reason in here.events("ModelPool", "llama")]
    scaling = [reason for reason in told if reason in ("ScaledFromZero", "ScaledUp", "ScaledDown")]
    assert scaling[-5:] == [
        "ScaledFromZero", "ScaledUp", "ScaledUp", "ScaledDown", "ScaledDown",
    ]  # fmt: skip


def test_what_routers_do_not_tell_takes_no_replica_away(
    operator: Operator, resources: Resources, router: Router
) -> None:
    here = resources
    here.apply(scaled(minReplicas=0, scaleDownDelay="2s"), route("chat", pools=["llama"]))
    pod = router()
    pod.tell("llama", 25, ready=1)
    eventually(lambda: replicas(here) == 3)
    pod.stop()
    eventually(lambda: decided(here) == (3, "LoadUnknown"), within=60)
    assert replicas(here) == 3
    message = here.get("mpool", "llama")["status"]["autoscaling"]["message"]
    assert f"router pod {pod.name}" in message
    assert ("Warning", "LoadUnknown") in eventually(lambda: here.events("ModelPool", "llama"))


def test_a_new_leader_takes_over_what_runs(
    installation: Installation, resources: Resources, router: Router, tmp_path: Path
) -> None:
    here = resources
    one = installation.operator("one").lead()
    here.apply(scaled(minReplicas=1, scaleDownDelay="10s"), route("chat", pools=["llama"]))
    pod = router()
    pod.tell("llama", 45, ready=1)
    eventually(lambda: replicas(here) == 5)
    two = installation.operator("two")
    with following(here, tmp_path / "replicas") as seen:
        eventually(lambda: seen() == [5])
        pod.tell("llama", 22, ready=5)
        one.kill()
        two.lead()
        eventually(lambda: replicas(here) == 3, within=90)
        # Neither the least that is allowed nor the default in between.
        eventually(lambda: seen() == [5, 3])


def test_requests_for_adapters_count(
    operator: Operator, resources: Resources, router: Router
) -> None:
    here = resources
    adapters = [{"name": "support", "source": "hf://acme/support"}]
    manifest = scaled(minReplicas=1)
    manifest["spec"]["vllm"]["loraAdapters"] = adapters
    here.apply(manifest, route("chat", pools=["llama/support"]))
    pod = router()
    pod.tell("llama/support", 28, waiting=1, ready=1)
    eventually(lambda: replicas(here) == 3)


def test_the_scale_subresource_sets_replicas(operator: Operator, resources: Resources) -> None:
    here, kubectl = resources, resources.kubernetes.kubectl
    here.apply(pool(), route("chat", pools=["llama"]))
    eventually(lambda: replicas(here) == 1)
    kubectl("scale", "mpool/llama", "--replicas=3", "-n", here.namespace)
    eventually(lambda: replicas(here) == 3)
    eventually(lambda: here.get("mpool", "llama")["status"].get("replicas") == 3, within=60)
    scale = json.loads(
        kubectl("get", "--raw", _scale_path(here.namespace))
    )  # what a HorizontalPodAutoscaler of one's own reads
    assert scale["spec"]["replicas"] == 3
    assert scale["status"]["replicas"] == 3
    selected = here.kubernetes.get("pods", "-n", here.namespace, "-l", scale["status"]["selector"])[
        "items"
    ]
    assert len(selected) == 3
    # What an autoscaler decides, nobody else sets.
    spec = {"vllm": {**scaled(minReplicas=1)["spec"]["vllm"], "replicas": None}}
    patch = json.dumps({"spec": spec})
    kubectl("patch", "mpool", "llama", "-n", here.namespace, "--type=merge", "-p", patch)
    said = kubectl("scale", "mpool/llama", "--replicas=2", "-n", here.namespace, check=False)
    assert "give replicas or autoscaling, not both" in said


def _scale_path(namespace: str) -> str:
    return f"/apis/modelrouter.dev/v1alpha1/namespaces/{namespace}/modelpools/llama/scale"


@pytest.fixture
def keda(kubernetes: Kubernetes) -> None:
    """KEDA's own definition of ScaledObjects."""
    try:
        path = scaled_object_definition()
    except ClusterError as error:
        unavailable(str(error))
        return
    kubernetes.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(path))
    kubernetes.establish("-f", str(path))


def load(operator: Operator, namespace: str, name: str = "llama") -> tuple[int, Any]:
    """What an operator answers KEDA."""
    url = f"http://127.0.0.1:{operator.port}/scale/{namespace}/{name}"
    answer = httpx.get(url, timeout=10)
    return answer.status_code, answer.json()


def test_keda_scales_and_the_operator_tells_it_the_load(
    keda: None, install: Install, resources: Resources, router: Router, namespace: str
) -> None:
    here, kubectl = resources, resources.kubernetes.kubectl
    installation = install(keda={"enabled": True})
    one = installation.operator("one").lead()
    two = installation.operator("two")
    here.apply(scaled(engine="KEDA", minReplicas=0), route("chat", pools=["llama"]))
    eventually(lambda: NAME in here.names("deployment"))
    eventually(lambda: NAME in here.names("scaledobjects.keda.sh"))
    found = here.get("scaledobject.keda.sh", NAME)
    assert found["spec"]["minReplicaCount"] == 0
    assert found["spec"]["triggers"][0]["metadata"]["url"] == (
        f"http://model-router.{namespace}.svc:8082/scale/{namespace}/llama"
    )
    assert replicas(here) == 0, "no GPU is taken before there is a request"

    pod = router()
    pod.tell("llama", 0)
    idle = {"requests": 0, "runningRequests": 0}
    for operator in (one, two):  # KEDA asks whichever the Service leads to
        eventually(lambda operator=operator: load(operator, namespace) == (200, idle))
    pod.tell("llama", 3, waiting=1)
    for operator in (one, two):
        eventually(lambda operator=operator: load(operator, namespace)[1]["runningRequests"] == 4)

    # What KEDA sets is left alone.
    kubectl("scale", f"deployment/{NAME}", "--replicas=4", "-n", namespace)
    here.apply(scaled(engine="KEDA", minReplicas=0, maxReplicas=6))
    eventually(lambda: here.get("scaledobject.keda.sh", NAME)["spec"]["maxReplicaCount"] == 6)
    calm(one)
    assert replicas(here) == 4

    # An unknown load is no load of nought: KEDA leaves the pool alone.
    pod.report(ready=False)
    pod.stop()
    eventually(lambda: load(one, namespace)[0] == 503, within=60)
    assert load(one, namespace, "nobody")[0] == 404

    # From KEDA to the built-in autoscaler: it takes over what runs.
    here.apply(scaled(minReplicas=0, scaleDownDelay="1h"))
    eventually(lambda: NAME not in here.names("scaledobjects.keda.sh"))
    calm(one)
    assert replicas(here) == 4
    assert load(one, namespace)[0] == 404

    # And back: what runs, runs on.
    here.apply(scaled(engine="KEDA", minReplicas=0))
    eventually(lambda: NAME in here.names("scaledobjects.keda.sh"))
    calm(one)
    assert replicas(here) == 4


def test_keda_takes_the_object_of_every_target(
    keda: None, kubernetes: Kubernetes, namespace: str
) -> None:
    for target in ("runningRequests", "waitingRequests", "kvCachePercent"):
        for least in (0, 1):
            manifest = scaled(engine="KEDA", minReplicas=least, target={target: 8})
            manifest["metadata"]["namespace"] = namespace
            planned = plan_scaled_object(ModelPool.model_validate(manifest), "http://operator:8082")
            said = kubernetes.kubectl(
                "create", "--dry-run=server", "--validate=strict", "-n", namespace, "-f", "-",
                input=yaml.safe_dump(planned),
            )  # fmt: skip
            assert "created (server dry run)" in said


def test_without_keda_a_pool_says_what_is_to_be_done(
    operator: Operator, resources: Resources
) -> None:
    here = resources
    here.apply(scaled(engine="KEDA"), route("chat", pools=["llama"]))

    def told() -> bool:
        conditions = here.get("mpool", "llama").get("status", {}).get("conditions", [])
        return any("set keda.enabled=true" in c["message"] for c in conditions)

    eventually(told)
