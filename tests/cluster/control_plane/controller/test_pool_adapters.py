"""LoRA adapters on running pods: loaded, withdrawn, unloaded, and loaded anew after a restart."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.control_plane.controller.operators import Installation, Operator
from cluster.control_plane.controller.resources import Resources
from cluster.control_plane.controller.serverpods import (
    LoraServer,
    pod_names,
    report_ready,
    vllm_pool,
)
from cluster.control_plane.controller.waiting import eventually

LABEL = "lora.modelrouter.dev/"
LOAD, UNLOAD = "/v1/load_lora_adapter", "/v1/unload_lora_adapter"


@pytest.fixture
def server() -> Iterator[LoraServer]:
    server = LoraServer()
    yield server
    server.stop()


def adapters(*names: str, **sources: str) -> list[dict[str, str]]:
    found = {**{name: f"hf://acme/{name}" for name in names}, **sources}
    return [{"name": name, "source": source} for name, source in found.items()]


def labels(here: Resources, pod: str) -> set[str]:
    """The adapters for which a pod gets requests."""
    found = here.get("pod", pod)["metadata"].get("labels") or {}
    return {name.removeprefix(LABEL) for name in found if name.startswith(LABEL)}


def serving(here: Resources, server: LoraServer, *names: str) -> str:
    """A pool with these adapters, and its pod, which serves."""
    here.apply(vllm_pool("llama", loraAdapters=adapters(*names)))
    (pod,) = pod_names(here, "llama")
    report_ready(here, pod, server.address)
    eventually(lambda: labels(here, pod) == set(names))
    return pod


def test_adapters_come_and_go_on_a_running_pod(
    operator: Operator, resources: Resources, server: LoraServer, installation: Installation
) -> None:
    here = resources
    pod = serving(here, server, "de", "fr")
    assert server.adapters == {"de": "acme/de", "fr": "acme/fr"}
    here.expect("mpool", "llama", AdaptersLoaded=("True", "AdaptersLoaded"))
    operator.settle()
    generation = here.get("deployment", "model-pool-llama")["metadata"]["generation"]

    # Another one comes, one goes: first the label, and vLLM forgets it some time later.
    server.asked.clear()
    here.apply(vllm_pool("llama", loraAdapters=adapters("fr", "it")))
    withdrawn = eventually(lambda: time.monotonic() if "de" not in labels(here, pod) else 0)
    eventually(lambda: (UNLOAD, "de") in server.asked, within=30)
    assert time.monotonic() - withdrawn > 3
    eventually(lambda: labels(here, pod) == {"fr", "it"})
    assert server.adapters == {"fr": "acme/fr", "it": "acme/it"}

    # The same name from another place: taken out of use, and loaded anew.
    here.apply(vllm_pool("llama", loraAdapters=adapters("it", fr="hf://acme/fr-2")))
    eventually(lambda: server.adapters["fr"] == "acme/fr-2" if "fr" in server.adapters else False)
    eventually(lambda: labels(here, pod) == {"fr", "it"})

    assert pod_names(here, "llama") == [pod]
    assert here.get("deployment", "model-pool-llama")["metadata"]["generation"] == generation
    # A label that somebody takes away is put back without a question to vLLM.
    asked = len(server.asked)
    here.kubernetes.kubectl("label", "pod", pod, f"{LABEL}it-", "-n", here.namespace)
    eventually(lambda: labels(here, pod) == {"fr", "it"})
    operator.settle()
    assert len(server.asked) == asked
    assert "error" not in installation.log_text().lower()


def test_a_container_that_starts_anew_loses_its_adapters_and_gets_them_again(
    operator: Operator, resources: Resources, server: LoraServer
) -> None:
    here = resources
    pod = serving(here, server, "de")
    server.asked.clear()
    server.adapters.clear()
    here.kubernetes.kubectl(
        "patch", "pod", pod, "-n", here.namespace, "--subresource=status", "--type=merge", "-p",
        json.dumps({"status": {
            "conditions": [{"type": "Ready", "status": "False"}],
            "containerStatuses": [{
                "name": "vllm", "image": "i", "imageID": "", "ready": False, "restartCount": 1,
                "containerID": "containerd://two", "started": False,
                "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
            }],
        }}),
    )  # fmt: skip
    eventually(lambda: labels(here, pod) == set())
    assert server.asked == []  # it still loads its model
    report_ready(here, pod, server.address, "two")
    eventually(lambda: labels(here, pod) == {"de"})
    assert server.asked == [(LOAD, "de")]


def test_an_adapter_that_cannot_be_loaded_is_told_and_tried_again(
    operator: Operator, resources: Resources, server: LoraServer
) -> None:
    here = resources
    server.refused["bad"] = "Adapter acme/bad could not be found.\nTry hf_aBcDeFgHiJkLmNoP"
    here.apply(vllm_pool("llama", loraAdapters=adapters("bad", "good")))
    (pod,) = pod_names(here, "llama")
    report_ready(here, pod, server.address)
    here.expect(
        "mpool", "llama",
        AdaptersLoaded=("False", "AdapterNotLoaded"), PodsReady=("True", "PodsReady"),
    )  # fmt: skip
    message = here.message("mpool", "llama", "AdaptersLoaded")
    assert f"bad: pod {pod}: vLLM answers 404: Adapter acme/bad could not be found" in message
    assert "hf_" not in message
    assert "spec.vllm.loraAdapters" in message
    eventually(lambda: labels(here, pod) == {"good"})
    eventually(lambda: server.asked.count((LOAD, "bad")) >= 3)
    assert ("Warning", "AdapterNotLoaded") in here.events("ModelPool", "llama")

    # It is there now: the next try succeeds.
    server.refused.clear()
    here.expect("mpool", "llama", within=60, AdaptersLoaded=("True", "AdaptersLoaded"))
    assert labels(here, pod) == {"bad", "good"}


def test_a_server_that_cannot_be_reached(operator: Operator, resources: Resources) -> None:
    here = resources
    here.apply(vllm_pool("llama", loraAdapters=adapters("de")))
    (pod,) = pod_names(here, "llama")
    report_ready(here, pod, "127.255.255.254")
    here.expect("mpool", "llama", AdaptersLoaded=("False", "AdapterNotLoaded"))
    assert "port 8000 cannot be reached" in here.message("mpool", "llama", "AdaptersLoaded")
    assert labels(here, pod) == set()


def test_a_new_leader_takes_over_what_is_loaded(
    installation: Installation, resources: Resources, server: LoraServer
) -> None:
    here, first = resources, installation.operator("first").lead()
    pod = serving(here, server, "de")
    here.expect("mpool", "llama", AdaptersLoaded=("True", "AdaptersLoaded"))
    first.settle()
    first.stop()
    server.asked.clear()
    # vLLM has one of which nobody has made a note: the operator ended in between.
    server.adapters["fr"] = "acme/fr"
    second = installation.operator("second").lead()
    second.settle()
    assert server.asked == []
    here.apply(vllm_pool("llama", loraAdapters=adapters("de", "fr")))
    eventually(lambda: labels(here, pod) == {"de", "fr"})
    assert (UNLOAD, "fr") not in server.asked

    # The adapter's Service selects what has it loaded.
    def selector(adapter: str) -> Any:
        (service,) = (
            obj
            for obj in here.all("service")
            if obj["metadata"]["labels"].get("modelrouter.dev/adapter") == adapter
        )
        return service["spec"]["selector"]

    mine = here.get("pod", pod)["metadata"]["labels"]
    assert selector("fr").items() <= mine.items()
