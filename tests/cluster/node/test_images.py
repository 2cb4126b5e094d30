"""The project's image, built by its Dockerfile: what is in it, as whom it runs, that it runs."""

from __future__ import annotations

import time

from openai import OpenAI

from cluster.kubernetes.access import Kubernetes
from cluster.kubernetes.images import envoy_image_name, operator_image_name
from cluster.node.workloads import MODEL_PORT, Workloads

MEGABYTE = 1_000_000
# As a registry stores it; a node keeps about four times as much on disk.
LARGEST = 120 * MEGABYTE
_LOOK_AROUND = """
import os, pathlib, shutil
print("user", os.getuid(), os.getgid())
for tool in ("cc", "gcc", "g++", "clang", "ld", "make", "pip", "pip3", "cargo", "go"):
    if found := shutil.which(tool):
        print("has", found)
try:
    pathlib.Path("/written").touch()
except OSError as error:
    print("root", error.strerror)
"""


def test_the_command_runs_without_root_and_without_writing(workloads: Workloads) -> None:
    printed = workloads.run("help", operator_image_name(), args=["--help"])
    for command in ("operator", "router", "simulate"):
        assert f" {command} " in printed


def test_nothing_in_it_builds_or_installs_and_its_user_is_nobody(workloads: Workloads) -> None:
    printed = workloads.run(
        "look", operator_image_name(), command=["python3", "-c"], args=[_LOOK_AROUND]
    )
    assert printed.splitlines() == ["user 65532 65532", "root Read-only file system"]


def test_a_simulated_model_answers_through_its_service_and_goes_at_once(
    workloads: Workloads,
) -> None:
    workloads.serve_model("llama", "meta-llama/Llama-3.1-8B-Instruct")
    client = OpenAI(base_url=f"{workloads.service_url('llama', MODEL_PORT)}/v1", api_key="unused")
    answer = client.chat.completions.create(
        model="meta-llama/Llama-3.1-8B-Instruct",
        messages=[{"role": "user", "content": "Hello!"}],
    )
    assert answer.choices[0].message.content
    started = time.monotonic()
    workloads.kubectl("delete", "pods", "-l", "app=llama", "--timeout=25s")
    # Process 1 of a pod has no default for SIGTERM: without a handler this takes 30 s.
    assert time.monotonic() - started < 20


def test_envoy_starts_as_its_official_image_does(workloads: Workloads) -> None:
    assert "version" in workloads.run("envoy", envoy_image_name(), args=["--version"], user=101)


def test_it_is_small(kubernetes: Kubernetes) -> None:
    deadline = time.monotonic() + 180  # the kubelet tells of new images every few minutes
    while (size := _sizes(kubernetes).get(operator_image_name())) is None:
        assert time.monotonic() < deadline, "the node does not tell of the image"
        time.sleep(1)
    print(f"{operator_image_name()}: {size / MEGABYTE:.0f} MB")
    assert size < LARGEST


def _sizes(kubernetes: Kubernetes) -> dict[str, int]:
    return {
        name: image["sizeBytes"]
        for node in kubernetes.get("nodes")["items"]
        for image in node["status"]["images"]
        for name in image.get("names") or []
    }
