"""The objects of a pool of model servers: what they are, and what must never change them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from modelrouter.api.manifests import Manifests, read_manifests
from modelrouter.api.pool import ModelPool
from modelrouter.api.vllm import LoraAdapter
from modelrouter.plan.vllm import plan_pool_children
from modelrouter.plan.vllm.command import adapter_path
from modelrouter.plan.vllm.naming import adapter_service_name, child_name, pod_selector
from unit.plan.golden import cases, check, dump

CASES = cases("pools")
IMAGE = "vllm/vllm-openai:v0.33.0"
FLAGS_OF_TIME = "--shutdown-timeout="

Object = dict[str, Any]


def read(text: str) -> list[ModelPool]:
    manifests = Manifests()
    read_manifests(text, "in.yaml", manifests)
    assert [str(problem) for problem in manifests.problems] == []
    return list(manifests.pools.values())


def pool(vllm: Object | None = None, name: str = "p", **spec: Any) -> ModelPool:
    document = {
        "apiVersion": "modelrouter.dev/v1alpha1",
        "kind": "ModelPool",
        "metadata": {"name": name, "namespace": "ai", "uid": "u"},
        "spec": {"model": "org/m", "vllm": {"image": IMAGE, **(vllm or {})}, **spec},
    }
    (found,) = read(yaml.safe_dump(document))
    return found


def of_kind(objects: list[Object], kind: str) -> Object:
    (found,) = [each for each in objects if each["kind"] == kind]
    return found


def template(found: ModelPool) -> Object:
    planned: Object = of_kind(plan_pool_children(found), "Deployment")["spec"]["template"]
    return planned


def container(found: ModelPool) -> Object:
    (planned,) = template(found)["spec"]["containers"]
    return dict(planned)


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def objects(request: pytest.FixtureRequest) -> list[Object]:
    return [
        each
        for found in read((request.param / "in.yaml").read_text())
        for each in plan_pool_children(found)
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_pool_becomes_the_expected_objects(case: Path, request: pytest.FixtureRequest) -> None:
    pools = read((case / "in.yaml").read_text())
    check(case, dump([each for found in pools for each in plan_pool_children(found)]), request)


@pytest.mark.parametrize(
    "facts",
    [
        {"contextWindow": 8192},
        {"features": ["tools"]},
        {"zone": "eu"},
        {"dataClasses": ["public"]},
        {"price": {"input": "0.15", "output": "0.60"}},
        {"quality": {"default": "0.62"}},
        {"parameters": {"drop": ["temperature"], "rename": {"a": "b"}}},
        {"healthCheck": {"path": "/ping", "interval": "1s"}},
        {"outlierDetection": {"consecutiveErrors": 9}},
        {"loadBalancing": "PrefixHash"},
        {"maxConcurrentRequests": 4},
    ],
    ids=lambda facts: next(iter(facts)),
)
def test_what_only_routers_need_to_know_changes_no_object(facts: Object) -> None:
    assert plan_pool_children(pool(**facts)) == plan_pool_children(pool())


def test_these_are_all_the_facts_that_only_routers_need_to_know() -> None:
    tried = {
        *("contextWindow", "features", "zone", "dataClasses", "price", "quality", "parameters"),
        *("healthCheck", "outlierDetection", "loadBalancing", "maxConcurrentRequests"),
    }
    sources = {"vllm", "service", "provider", "endpoints"}
    fields = {field.alias for field in type(pool().spec).model_fields.values()}
    assert fields == tried | sources | {"model"}


@pytest.mark.parametrize(
    "change",
    [
        {"replicas": 7},
        {"autoscaling": {"maxReplicas": 8, "target": {"runningRequests": 16}}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_number_of_servers_restarts_none(change: Object) -> None:
    assert template(pool(change)) == template(pool())


def test_adapters_come_and_go_without_a_restart() -> None:
    one = {"name": "a", "source": "hf://org/a"}
    two = [one, {"name": "b", "source": "hf://org/b"}]
    assert template(pool({"loraAdapters": two})) == template(pool({"loraAdapters": [one]}))


def test_adapters_on_a_claim_that_is_mounted_come_and_go_without_a_restart() -> None:
    model = {"source": "pvc://models/base"}
    one = {"name": "a", "source": "pvc://models/a"}
    two = [one, {"name": "b", "source": "pvc://models/b"}]
    assert template(pool({**model, "loraAdapters": two})) == template(
        pool({**model, "loraAdapters": [one]})
    )


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("hf://org/a", "org/a"),
        ("pvc://models/a/b/", "/claims/models/a/b"),
        ("pvc://m", "/claims/m"),
    ],
)
def test_servers_are_told_where_an_adapter_is(source: str, path: str) -> None:
    assert adapter_path(LoraAdapter(name="a", source=source)) == path


def test_an_old_server_stays_while_a_new_one_loads_its_adapters() -> None:
    def wait(vllm: Object) -> int:
        deployment = of_kind(plan_pool_children(pool(vllm)), "Deployment")
        return int(deployment["spec"].get("minReadySeconds", 0))

    assert wait({"loraAdapters": [{"name": "a", "source": "hf://acme/a"}]}) > 10
    assert wait({}) == 0


def test_each_adapter_has_a_service_of_its_own_that_names_can_have() -> None:
    pools, adapters = ["p", "p" * 50, "a-b"], ["a", "A", "a.b", "a_b", "x" * 63]
    names = {adapter_service_name(one, other) for one in pools for other in adapters}
    assert len(names) == len(pools) * len(adapters)
    assert all(len(name) <= 63 and name == name.lower() and "." not in name for name in names)
    assert not names & {child_name(one) for one in pools}


def test_every_object_is_found_by_its_labels_and_goes_with_its_pool(objects: list[Object]) -> None:
    for found in objects:
        metadata = found["metadata"]
        name = metadata["labels"]["modelrouter.dev/pool"]
        assert metadata["namespace"] == "ai"
        assert metadata["name"].startswith(f"model-pool-{name}")
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "model-router-operator"
        assert "team" not in metadata["labels"]
        for owner in metadata.get("ownerReferences", ()):
            assert (owner["kind"], owner["name"]) == ("ModelPool", name)
            assert owner["controller"] is True
            # Deleting the pool waits for nothing.
            assert owner["blockOwnerDeletion"] is False


def test_an_owner_is_only_named_by_its_uid() -> None:
    found = pool()
    for each in plan_pool_children(found):
        assert each["metadata"]["ownerReferences"][0]["uid"] == "u"
    unknown = found.model_copy(update={"metadata": found.metadata.model_copy(update={"uid": ""})})
    for each in plan_pool_children(unknown):
        assert "ownerReferences" not in each["metadata"]


def test_selectors_find_the_pods_and_no_others(objects: list[Object]) -> None:
    for deployment in (each for each in objects if each["kind"] == "Deployment"):
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        name = labels["modelrouter.dev/pool"]
        assert deployment["spec"]["selector"]["matchLabels"] == pod_selector(name)
        assert pod_selector(name).items() <= labels.items()
        assert pod_selector("another").items() - labels.items()


def test_requests_have_their_time_before_a_server_is_killed(objects: list[Object]) -> None:
    for deployment in (each for each in objects if each["kind"] == "Deployment"):
        spec = deployment["spec"]["template"]["spec"]
        (server,) = [each for each in spec["containers"] if each["name"] == "vllm"]
        (flag,) = [arg for arg in server["args"] if arg.startswith(FLAGS_OF_TIME)]
        drain = int(flag.removeprefix(FLAGS_OF_TIME))
        leaving = server["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert leaving >= 5
        assert drain > 0
        assert spec["terminationGracePeriodSeconds"] >= leaving + drain + 10


def test_a_server_may_take_its_time_to_load(objects: list[Object]) -> None:
    for deployment in (each for each in objects if each["kind"] == "Deployment"):
        spec = deployment["spec"]
        (server,) = [
            each for each in spec["template"]["spec"]["containers"] if each["name"] == "vllm"
        ]
        probe = server["startupProbe"]
        seconds = probe["periodSeconds"] * probe["failureThreshold"]
        assert seconds >= 1800
        assert spec["progressDeadlineSeconds"] > seconds
        assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_a_startup_timeout_that_is_no_multiple_of_the_probe_period_is_kept() -> None:
    probe = container(pool({"startupTimeout": "11s"}))["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] == 15


def test_pods_have_no_rights_that_vllm_does_not_need(objects: list[Object]) -> None:
    """All of the restricted security standard but the user: vLLM's image runs as root."""
    for deployment in (each for each in objects if each["kind"] == "Deployment"):
        spec = deployment["spec"]["template"]["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (server,) = [each for each in spec["containers"] if each["name"] == "vllm"]
        assert server["securityContext"]["allowPrivilegeEscalation"] is False
        assert server["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_secrets_are_named_and_never_held() -> None:
    (found,) = read((Path(__file__).parent / "pools" / "single-gpu" / "in.yaml").read_text())
    (token,) = [each for each in container(found)["env"] if each["name"] == "HF_TOKEN"]
    assert token == {
        "name": "HF_TOKEN",
        "valueFrom": {"secretKeyRef": {"name": "hugging-face", "key": "token"}},
    }


@pytest.mark.parametrize(
    ("vllm", "told", "replicas"),
    [
        ({}, None, 1),
        ({"replicas": 0}, None, 0),
        ({"replicas": 3}, 5, 3),
        ({"autoscaling": {"maxReplicas": 8, "target": {"runningRequests": 1}}}, None, 1),
        ({"autoscaling": {"maxReplicas": 8, "target": {"runningRequests": 1}}}, 5, 5),
        (
            {"autoscaling": {"minReplicas": 0, "maxReplicas": 8, "target": {"runningRequests": 1}}},
            None,
            0,
        ),
    ],
)
def test_the_number_of_servers_is_that_of_the_spec_or_of_the_autoscaler(
    vllm: Object, told: int | None, replicas: int
) -> None:
    planned = plan_pool_children(pool(vllm), replicas=told)
    assert of_kind(planned, "Deployment")["spec"]["replicas"] == replicas


def test_flags_of_the_user_come_last_so_that_they_win() -> None:
    args = container(pool({"args": ["--load-format=x"], "source": "s3://bucket"}))["args"]
    assert args[-1] == "--load-format=x"
    assert "--load-format=runai_streamer" in args[:-1]


def test_a_pool_of_another_source_has_no_objects() -> None:
    (found,) = read(
        "apiVersion: modelrouter.dev/v1alpha1\nkind: ModelPool\nmetadata: {name: a}\n"
        "spec: {model: m, endpoints: ['10.0.0.7:8000']}\n"
    )
    assert plan_pool_children(found) == []
