"""KEDA: the ScaledObject of a pool, and what the operator answers when KEDA asks."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from modelrouter.api.pool import ModelPool
from modelrouter.plan.scaling.answering import LoadMemory, answer, remember
from modelrouter.plan.scaling.load import Load
from modelrouter.plan.vllm import plan_pool_children
from modelrouter.plan.vllm.scaled_object import plan_scaled_object

URL = "http://model-router.models.svc:8082"
WANTED = """\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: model-pool-llama
  namespace: ns
  labels:
    app.kubernetes.io/name: vllm
    app.kubernetes.io/instance: model-pool-llama
    app.kubernetes.io/component: model-server
    app.kubernetes.io/part-of: model-router-operator
    app.kubernetes.io/managed-by: model-router-operator
    modelrouter.dev/pool: llama
  ownerReferences:
  - apiVersion: modelrouter.dev/v1alpha1
    kind: ModelPool
    name: llama
    uid: u-1
    controller: true
    blockOwnerDeletion: false
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: model-pool-llama}
  minReplicaCount: 0
  maxReplicaCount: 4
  pollingInterval: 2
  cooldownPeriod: 90
  advanced:
    horizontalPodAutoscalerConfig:
      behavior: {scaleDown: {stabilizationWindowSeconds: 90}}
  triggers:
  - type: metrics-api
    name: load
    metricType: AverageValue
    metadata:
      url: http://model-router.models.svc:8082/scale/ns/llama
      valueLocation: waitingRequests
      targetValue: "8"
      activationTargetValue: "0"
  - type: metrics-api
    name: requests
    metricType: AverageValue
    metadata:
      url: http://model-router.models.svc:8082/scale/ns/llama
      valueLocation: requests
      targetValue: "1000000000"
      activationTargetValue: "0"
"""


def pool(**autoscaling: Any) -> ModelPool:
    scaling = {"engine": "KEDA", "maxReplicas": 4, "target": {"runningRequests": 8}, **autoscaling}
    return ModelPool.model_validate(
        {
            "metadata": {"name": "llama", "namespace": "ns", "uid": "u-1"},
            "spec": {
                "model": "acme/llama",
                "vllm": {"image": "vllm/vllm-openai:v0.33.0", "autoscaling": scaling},
            },
        }
    )


def test_a_queue_says_how_many_and_requests_whether_any() -> None:
    asked = pool(minReplicas=0, target={"waitingRequests": 8}, scaleDownDelay="1m30s")
    assert plan_scaled_object(asked, URL) == yaml.safe_load(WANTED)


@pytest.mark.parametrize(
    ("values", "triggers"),
    [
        ({"minReplicas": 0}, ["runningRequests"]),
        ({"minReplicas": 1}, ["runningRequests"]),
        ({"minReplicas": 1, "target": {"kvCachePercent": 70}}, ["kvCachePercent"]),
        ({"minReplicas": 0, "target": {"kvCachePercent": 70}}, ["kvCachePercent", "requests"]),
    ],
)
def test_only_a_target_that_says_nothing_at_zero_needs_a_second_trigger(
    values: dict[str, Any], triggers: list[str]
) -> None:
    planned = plan_scaled_object(pool(**values), URL)
    assert planned is not None
    found = [trigger["metadata"]["valueLocation"] for trigger in planned["spec"]["triggers"]]
    assert found == triggers


def test_the_window_is_one_that_kubernetes_takes() -> None:
    planned = plan_scaled_object(pool(minReplicas=0, scaleDownDelay="3h"), URL)
    assert planned is not None
    behavior = planned["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 3600
    assert planned["spec"]["cooldownPeriod"] == 3 * 3600


def test_there_is_none_without_keda() -> None:
    assert plan_scaled_object(pool(engine="BuiltIn"), URL) is None
    assert plan_scaled_object(pool(), "") is None
    kinds = [child["kind"] for child in plan_pool_children(pool(), keda_url=URL)]
    assert kinds == ["Service", "PodDisruptionBudget", "Deployment", "ScaledObject"]


def test_the_number_of_replicas_is_kedas_alone() -> None:
    (deployment,) = (c for c in plan_pool_children(pool()) if c["kind"] == "Deployment")
    assert "replicas" not in deployment["spec"]


def told(requests: int, ready: bool = True, amount: float | None = None) -> Load:
    return Load(requests, 0, float(requests) if amount is None else amount, ready)


def test_a_request_between_two_questions_counts() -> None:
    memory = remember(LoadMemory(), told(0), 0.0, 600)
    memory = remember(memory, told(3), 1.0, 600)
    memory = remember(memory, told(0), 1.3, 600)
    memory = remember(memory, told(0), 3.0, 600)
    assert answer(memory, "running_requests", told(0)) == {"requests": 3, "runningRequests": 3}
    memory = remember(memory, told(0), 8.0, 600)
    assert answer(memory, "running_requests", told(0)) == {"requests": 0, "runningRequests": 0}


def test_figures_of_the_servers_are_told_as_they_are() -> None:
    memory = remember(LoadMemory(), told(2), 0.0, 600)
    assert answer(memory, "kv_cache_percent", told(2, amount=140.0)) == {
        "requests": 2,
        "kvCachePercent": 140.0,
    }


def test_a_first_replica_that_starts_is_not_given_up() -> None:
    memory = remember(LoadMemory(), told(1, ready=False), 0.0, 600)
    memory = remember(memory, told(0, ready=False), 1.0, 600)
    memory = remember(memory, told(0, ready=False), 599.0, 600)
    assert answer(memory, "running_requests", told(0))["runningRequests"] == 1
    ready = remember(memory, told(0), 599.5, 600)
    assert answer(ready, "running_requests", told(0))["runningRequests"] == 0
    hopeless = remember(memory, told(0, ready=False), 600.0, 600)
    assert answer(hopeless, "running_requests", told(0))["runningRequests"] == 0
