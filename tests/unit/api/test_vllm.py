"""What `vllm` of a pool may say, beyond what an API server can tell."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from modelrouter.api.manifests import Manifests, read_manifests
from modelrouter.api.model_source import Location, locate


def said(vllm: dict[str, Any], model: str = "org/m") -> str:
    document = {
        "apiVersion": "modelrouter.dev/v1alpha1",
        "kind": "ModelPool",
        "metadata": {"name": "p"},
        "spec": {"model": model, "vllm": {"image": "vllm", **vllm}},
    }
    manifests = Manifests()
    read_manifests(yaml.safe_dump(document), "m.yaml", manifests)
    return "\n".join(map(str, manifests.problems))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"containers": [{"image": "x"}]}, "containers is a list of objects, each with its name"),
        ({"containers": {"vllm": {}}}, "containers is a list of objects, each with its name"),
        ({"initContainers": ["x"]}, "initContainers is a list of objects, each with its name"),
        ({"volumes": [{"name": 7}]}, "volumes is a list of objects, each with its name"),
        ({"imagePullSecrets": ["registry"]}, "imagePullSecrets is a list of objects, each with"),
    ],
)
def test_lists_that_are_merged_by_name_need_names(spec: dict[str, Any], message: str) -> None:
    problem = said({"podTemplate": {"spec": spec}})
    assert f"spec.vllm.podTemplate.spec: {message}" in problem


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"containers": []},
        {"containers": [{"$patch": "replace"}, {"name": "a", "image": "b"}]},
        {"volumes": [{"name": "cache", "$patch": "delete"}]},
        {"anything": {"that": ["Kubernetes", "may", "have"]}},
    ],
)
def test_all_else_is_for_kubernetes_to_judge(spec: dict[str, Any]) -> None:
    assert said({"podTemplate": {"spec": spec}}) == ""


def test_a_field_without_a_value_is_an_error_in_a_pod_too() -> None:
    problem = said({"podTemplate": {"spec": {"nodeSelector": None}}})
    assert "spec.vllm.podTemplate.spec.nodeSelector: this field is empty" in problem


@pytest.mark.parametrize(
    "flag",
    ["--model", "--served-model-name", "--host", "--port", "--uds", "--shutdown-timeout",
     "--tensor-parallel-size", "-tp", "--enable-lora", "--no-enable-lora", "--lora-modules",
     "--api-key", "--hf-token", "--ssl-keyfile", "--ssl-certfile", "--revision"],
)  # fmt: skip
@pytest.mark.parametrize("value", ["", "=planted", "=planted\nplanted"])
def test_flags_of_the_operator_are_refused_and_their_values_are_not_shown(
    flag: str, value: str
) -> None:
    for written in (flag, flag[:2] + flag[2:].replace("-", "_")):
        problem = said({"args": ["--seed=1", written + value]})
        assert f"spec.vllm.args: {written}: this flag is the operator's; use " in problem
        assert "planted" not in problem


@pytest.mark.parametrize(
    "arg", ["--max-model-len=32768", "--max-loras=8", "--model-impl=vllm", "--ported", "x --port=1"]
)
def test_other_flags_are_vllm_s_business(arg: str) -> None:
    assert said({"args": [arg]}) == ""


@pytest.mark.parametrize(
    ("source", "location"),
    [
        ("hf://org/name", Location("hf", "org/name")),
        ("hf://org/name@refs/pr/1", Location("hf", "org/name", revision="refs/pr/1")),
        ("pvc://claim", Location("pvc", "claim")),
        ("pvc://claim/a/b/", Location("pvc", "claim", "a/b")),
        ("s3://bucket/a", Location("s3", "bucket", "a")),
    ],
)
def test_a_source_has_its_parts(source: str, location: Location) -> None:
    assert said({"source": source}) == ""
    assert locate(source) == location


def test_a_model_of_hugging_face_needs_no_source_and_any_other_does() -> None:
    assert said({}, model="org/m") == ""
    assert said({"source": "pvc://models"}, model="m") == ""
    assert "say in source where its files are" in said({}, model="m")
