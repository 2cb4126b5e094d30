"""Adapters on one pod: each step, and that no request ever meets a server without its adapter."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrouter.plan.servers.adapters import (
    ANNOTATION,
    AdapterPod,
    Step,
    leaving,
    marks,
    next_step,
    read_adapter_pod,
)

NONE: frozenset[str] = frozenset()


def pod(
    loaded: dict[str, str] | None = None,
    labelled: set[str] | None = None,
    *,
    container: str = "one",
    noted: str = "one",
    ready: bool = True,
    takes: bool = True,
) -> AdapterPod:
    loaded = loaded or {}
    noted = noted if loaded else ""
    return AdapterPod("10.0.0.1", ready, container, takes, noted, loaded, frozenset(labelled or ()))


@pytest.mark.parametrize(
    ("found", "wanted", "withdrawn", "step"),
    [
        (pod(), {}, NONE, None),
        (pod(), {"b": "/b", "a": "/a"}, NONE, Step("load", ("a",))),
        (pod({"a": "/a"}, {"a"}), {"a": "/a"}, NONE, None),
        (pod({"a": "/a"}), {"a": "/a"}, NONE, Step("label", ("a",))),
        (pod({"a": "/a"}, {"a"}), {}, NONE, Step("withdraw", ("a",))),
        (pod({"a": "/a"}), {}, NONE, None),
        (pod({"a": "/a"}), {}, frozenset("a"), Step("unload", ("a",))),
        (pod({"a": "/old"}, {"a"}), {"a": "/new"}, NONE, Step("withdraw", ("a",))),
        (pod({"a": "/old"}), {"a": "/new"}, NONE, None),
        (pod({"a": "/old"}), {"a": "/new"}, frozenset("a"), Step("unload", ("a",))),
        # What routers must not use comes before what they may.
        (pod({"a": "/a", "b": "/b"}, {"a"}), {"b": "/b"}, NONE, Step("withdraw", ("a",))),
        # Somebody has set a label for something that is not loaded.
        (pod({}, {"a"}), {"a": "/a"}, NONE, Step("forget", ("a",))),
        # Another container, or none.
        (pod({"a": "/a"}, {"a"}, container="two"), {"a": "/a"}, NONE, Step("forget", ("a",))),
        (pod({"a": "/a"}, {"a"}, container=""), {"a": "/a"}, NONE, Step("forget", ("a",))),
        (pod({"a": "/a"}, container="two", ready=False), {}, NONE, Step("forget", ())),
        # Of before there were adapters: it is about to be replaced.
        (pod(takes=False), {"a": "/a"}, NONE, None),
        # Not ready: vLLM cannot be asked.
        (pod(ready=False), {"a": "/a"}, NONE, None),
        (pod({"a": "/a"}, {"a"}, ready=False), {}, NONE, None),
    ],
)
def test_the_next_step(
    found: AdapterPod, wanted: dict[str, str], withdrawn: frozenset[str], step: Step | None
) -> None:
    assert next_step(found, wanted, withdrawn) == step


def test_what_is_marked_reads_back() -> None:
    patch = marks("containerd://one", {"a": "/a"}, {"a": True, "b": False})
    assert patch["labels"] == {"lora.modelrouter.dev/a": "loaded", "lora.modelrouter.dev/b": None}
    labels = {name: value for name, value in patch["labels"].items() if value}
    state = {"running": {}}
    status = {"name": "vllm", "containerID": "containerd://one", "state": state}
    found = read_adapter_pod(
        {
            "metadata": {"labels": labels, "annotations": patch["annotations"]},
            "status": {
                "podIP": "10.0.0.1",
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "other", "containerID": "x"}, status],
            },
        }
    )
    assert found == AdapterPod(
        "10.0.0.1", True, "containerd://one", True, "containerd://one", {"a": "/a"}, frozenset("a")
    )
    assert found.usable == {"a"}
    assert marks("", {}, {})["annotations"] == {ANNOTATION: None}


@pytest.mark.parametrize("note", ["", "{", "[]", "1", '{"container": "one", "loaded": [1]}', "{}"])
def test_a_note_that_somebody_broke_says_nothing(note: str) -> None:
    found = read_adapter_pod({"metadata": {"annotations": {ANNOTATION: note}}})
    assert (found.noted, found.loaded) == ("", {})


class Server:
    """A pod with its vLLM: what it has loaded, and what its object says."""

    def __init__(self) -> None:
        self.adapters: dict[str, str] = {}
        self.metadata: dict[str, Any] = {"labels": {}, "annotations": {}}
        self.container, self.ready = 1, True

    @property
    def pod(self) -> AdapterPod:
        state = {"running": {}}
        status = {"name": "vllm", "containerID": str(self.container), "state": state}
        ready = {"type": "Ready", "status": str(self.ready)}
        return read_adapter_pod(
            {
                "metadata": self.metadata,
                "status": {
                    "podIP": "10.0.0.1", "conditions": [ready], "containerStatuses": [status]
                },
            }
        )  # fmt: skip

    def mark(self, patch: dict[str, Any]) -> None:
        for kind, values in patch.items():
            merged = {**self.metadata[kind], **values}
            self.metadata[kind] = {k: v for k, v in merged.items() if v is not None}

    def take(self, step: Step, wanted: dict[str, str]) -> None:
        found = self.pod
        loaded = dict(found.loaded)
        match step.kind:
            case "forget":
                self.mark(marks("", {}, dict.fromkeys(step.names, False)))
            case "withdraw" | "label":
                on = step.kind == "label"
                self.mark(marks(found.noted, loaded, dict.fromkeys(step.names, on)))
            case "load":
                (name,) = step.names
                assert name not in self.adapters
                loaded[name] = self.adapters[name] = wanted[name]
                self.mark(marks(found.container, loaded, {name: True}))
            case "unload":
                (name,) = step.names
                assert name not in found.labelled  # routers have been told before
                del self.adapters[name], loaded[name]
                self.mark(marks(found.container, loaded, {}))


WANTED = st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["/1", "/2"]))


@given(st.lists(st.one_of(WANTED, st.just("restart"), st.just("unready"), st.integers(0, 3))))
def test_whatever_happens_labels_never_promise_what_is_not_loaded(events: list[Any]) -> None:
    server, wanted = Server(), dict[str, str]()
    for event in events:
        if event == "restart":
            server.container += 1
            server.adapters, server.ready = {}, True
            # The first thing that an operator does; until then the pod is not ready for long.
            while (step := next_step(server.pod, wanted, NONE)) and step.kind == "forget":
                server.take(step, wanted)
        elif event == "unready":
            server.ready = False
        elif isinstance(event, int):
            for _ in range(event):
                gone = leaving(server.pod, wanted)
                if step := next_step(server.pod, wanted, gone):
                    server.take(step, wanted)
        else:
            wanted = event
        assert server.pod.usable <= server.adapters.keys()
    server.ready = True
    for _ in range(40):
        if step := next_step(server.pod, wanted, leaving(server.pod, wanted)):
            server.take(step, wanted)
    assert server.adapters == wanted
    assert server.pod.usable == wanted.keys()
    assert json.loads(server.metadata["annotations"].get(ANNOTATION, '{"loaded": {}}'))[
        "loaded"
    ] == wanted  # fmt: skip
