"""LoRA adapters on one running pod: what it has, what it should have → the next step.

What vLLM has loaded is remembered in an annotation of the pod, for the container that has it: a
container that is started again has nothing. A label says what routers may use. It comes after an
adapter is loaded and goes some time before it is unloaded, so no request meets a server that does
not know its adapter, whether or not an operator runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from modelrouter.plan.vllm.naming import CONTAINER, LOADED, adapter_label

ANNOTATION = "modelrouter.dev/lora-adapters"
_LABEL_PREFIX = adapter_label("")

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AdapterPod:
    """One pod, as far as its adapters are concerned."""

    address: str
    """Its IP address; empty while it has none."""
    ready: bool
    container: str
    """Id of the running container; empty: none runs."""
    takes: bool
    """Whether its server can load adapters at all."""
    noted: str
    """Id of the container that `loaded` is about."""
    loaded: Mapping[str, str] = field(default_factory=dict)
    """Paths of the adapters that vLLM has, by name."""
    labelled: frozenset[str] = frozenset()
    """Adapters for which the pod gets requests."""

    @property
    def usable(self) -> frozenset[str]:
        """Adapters that it serves."""
        if not self.container or self.container != self.noted:
            return frozenset()
        return self.labelled & self.loaded.keys()


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next."""

    kind: Literal["forget", "withdraw", "label", "unload", "load"]
    names: tuple[str, ...]
    """Adapters: all that a change of labels is about, or the one to load or unload."""


def read_adapter_pod(pod: Object) -> AdapterPod:
    """What a pod's metadata and status say."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    labels = metadata.get("labels") or {}
    found = (c for c in status.get("containerStatuses") or () if c.get("name") == CONTAINER)
    container: Object = next(found, {})
    runs = (container.get("state") or {}).get("running") is not None
    noted, loaded = _note(metadata)
    conditions = status.get("conditions") or ()
    return AdapterPod(
        address=str(status.get("podIP") or ""),
        ready=any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions),
        container=str(container.get("containerID") or "") if runs else "",
        takes=bool(pod.get("takesAdapters", True)),
        noted=noted,
        loaded=loaded,
        labelled=frozenset(
            name.removeprefix(_LABEL_PREFIX) for name in labels if name.startswith(_LABEL_PREFIX)
        ),
    )


def next_step(pod: AdapterPod, wanted: Mapping[str, str], withdrawn: frozenset[str]) -> Step | None:
    """The next step on the way to the wanted adapters (paths by name); None: nothing is to do.

    `withdrawn` are those whose label has been gone for long enough.
    """
    if pod.container != pod.noted and (pod.labelled or pod.loaded):
        # It ends or has started anew: what was loaded is lost.
        return Step("forget", tuple(sorted(pod.labelled)))
    if not (pod.ready and pod.container and pod.address and pod.takes):
        return None
    right = {name for name, path in pod.loaded.items() if wanted.get(name) == path}
    if wrong := sorted(pod.labelled - right):
        return Step("withdraw", tuple(wrong))
    if unlabelled := sorted(right - pod.labelled):
        return Step("label", tuple(unlabelled))
    leaving = pod.loaded.keys() - right
    if gone := sorted(leaving & withdrawn):
        return Step("unload", (gone[0],))
    missing = sorted(wanted.keys() - pod.loaded.keys())
    return Step("load", (missing[0],)) if missing else None


def leaving(pod: AdapterPod, wanted: Mapping[str, str]) -> frozenset[str]:
    """Adapters that are loaded, without a label, and to be unloaded."""
    wrong = {name for name, path in pod.loaded.items() if wanted.get(name) != path}
    return frozenset(wrong - pod.labelled)


def marks(
    container: str,
    loaded: Mapping[str, str],
    labels: Mapping[str, bool],
) -> dict[str, Any]:
    """A merge patch of a pod's metadata. `labels`: by adapter, whether it gets requests."""
    note = json.dumps({"container": container, "loaded": dict(sorted(loaded.items()))})
    return {
        "labels": {adapter_label(name): LOADED if on else None for name, on in labels.items()},
        "annotations": {ANNOTATION: note if loaded else None},
    }


def _note(metadata: Object) -> tuple[str, dict[str, str]]:
    text = (metadata.get("annotations") or {}).get(ANNOTATION) or ""
    try:
        note = json.loads(text)
        return str(note["container"]), {str(k): str(v) for k, v in note["loaded"].items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        # Nothing is noted, or somebody has edited it: then nothing is known to be loaded.
        return "", {}
