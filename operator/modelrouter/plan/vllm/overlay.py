"""`podTemplate` laid over the planned pod, as a strategic merge patch.

The rules are those of Kubernetes
(https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md),
with one addition: where only one of several fields may be set, such as the source of a volume, the
value of a variable or the action of a probe, the patch takes the place of what was there.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from modelrouter.api.pod_template import PodTemplate

_KEYS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "volumes": ("name",),
    "imagePullSecrets": ("name",),
    "resourceClaims": ("name",),
    "schedulingGates": ("name",),
    "hostAliases": ("ip",),
    "topologySpreadConstraints": ("topologyKey",),
    "env": ("name",),
    "ports": ("containerPort", "protocol"),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
}
"""Lists that are merged item by item, and what tells their items apart. Others are replaced."""
_DEFAULTS = {"protocol": "TCP"}
_ONE_OF_MANY = ("volumes", "env")
"""Lists whose items have one of many kinds of content; an item of the patch is a whole one."""
_ACTIONS = frozenset({"exec", "grpc", "httpGet", "sleep", "tcpSocket"})
"""What a probe or a hook may do. It does one thing."""
_DIRECTIVE = "$patch"


def overlaid(template: Mapping[str, Any], overlay: PodTemplate) -> dict[str, Any]:
    """The pod template with the user's changes."""
    changes: dict[str, Any] = {}
    if overlay.metadata.labels or overlay.metadata.annotations:
        changes["metadata"] = {
            "labels": overlay.metadata.labels,
            "annotations": overlay.metadata.annotations,
        }
    if overlay.spec:
        changes["spec"] = overlay.spec
    return merge(template, changes)


def merge(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """An object with the fields of a patch. Neither is changed; the result shares nothing."""
    if patch.get(_DIRECTIVE) == "replace":
        return merge({}, {name: value for name, value in patch.items() if name != _DIRECTIVE})
    merged = {name: copy.deepcopy(value) for name, value in base.items()}
    if _ACTIONS & patch.keys():
        merged = {
            name: value for name, value in merged.items() if name not in _ACTIONS - set(patch)
        }
    for name, value in patch.items():
        if value is None or _deletes(value):
            merged.pop(name, None)
        elif isinstance(value, Mapping):
            before = merged.get(name)
            merged[name] = merge(before if isinstance(before, Mapping) else {}, value)
        elif isinstance(value, list):
            before = merged.get(name)
            merged[name] = _merged_list(name, before if isinstance(before, list) else [], value)
        else:
            merged[name] = value
    return merged


def _merged_list(name: str, base: Sequence[Any], patch: Sequence[Any]) -> list[Any]:
    keys = _KEYS.get(name)
    if keys is None:
        return copy.deepcopy(list(patch))
    items = [item for item in patch if item != {_DIRECTIVE: "replace"}]
    merged = copy.deepcopy(list(base)) if len(items) == len(patch) else []
    for item in items:
        identity = _identity(item, keys)
        place = next(
            (
                i
                for i, other in enumerate(merged)
                if identity and _identity(other, keys) == identity
            ),
            None,
        )
        if _deletes(item):
            if place is not None:
                del merged[place]
        elif place is None:
            merged.append(_plain(item))
        elif name in _ONE_OF_MANY:
            merged[place] = _plain(item)
        else:
            merged[place] = merge(merged[place], item)
    return merged


def _identity(item: Any, keys: Sequence[str]) -> tuple[Any, ...] | None:
    """What tells an item from the others of its list; None: nothing does."""
    if not isinstance(item, Mapping):
        return None
    values = tuple(item.get(key, _DEFAULTS.get(key)) for key in keys)
    return None if None in values else values


def _deletes(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get(_DIRECTIVE) == "delete"


def _plain(value: Any) -> Any:
    """A value of the patch where there is nothing to merge it with."""
    return merge({}, value) if isinstance(value, Mapping) else copy.deepcopy(value)
