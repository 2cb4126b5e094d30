"""`podTemplate`: what is laid over the pod that the operator plans."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from modelrouter.api.admission import Cel, Keywords
from modelrouter.api.strictness import StrictModel

_OWN_LABEL = "labels of modelrouter.dev and app.kubernetes.io are the operator's; take them out"
_LISTS_BY_NAME = ("containers", "initContainers", "volumes", "imagePullSecrets")


def _not_ours(labels: dict[str, str]) -> dict[str, str]:
    if any("modelrouter.dev/" in key or "app.kubernetes.io/" in key for key in labels):
        raise ValueError(_OWN_LABEL)
    return labels


def _mergeable(spec: dict[str, Any]) -> dict[str, Any]:
    for field in _LISTS_BY_NAME:
        items = spec.get(field, [])
        if not isinstance(items, list) or not all(
            (isinstance(item, dict) and isinstance(item.get("name"), str)) or _is_directive(item)
            for item in items
        ):
            raise ValueError(f"{field} is a list of objects, each with its name")
    return spec


def _is_directive(item: object) -> bool:
    return isinstance(item, dict) and item.get("$patch") == "replace"


class PodMetadata(StrictModel):
    """Labels and annotations of the pods."""

    labels: Annotated[
        dict[str, Annotated[str, Field(max_length=63)]],
        Field(max_length=64),
        AfterValidator(_not_ours),
        Cel(
            "self.all(key, !key.contains('modelrouter.dev/') && "
            "!key.contains('app.kubernetes.io/'))",
            _OWN_LABEL,
        ),
    ] = {}
    """Further labels."""
    annotations: Annotated[
        dict[str, Annotated[str, Field(max_length=65536)]], Field(max_length=64)
    ] = {}
    """Further annotations."""


class PodTemplate(StrictModel):
    """Changes to the pods, merged as `kubectl patch` merges: objects field by field, containers,
    volumes and variables by their names, other lists as a whole."""

    metadata: PodMetadata = PodMetadata()
    """Labels and annotations."""
    spec: Annotated[
        dict[str, Any],
        Field(max_length=64),
        AfterValidator(_mergeable),
        Keywords({"x-kubernetes-preserve-unknown-fields": True}),
    ] = {}
    """Fields of a pod's spec, such as nodeSelector, tolerations or the environment of the
    container `vllm`."""
