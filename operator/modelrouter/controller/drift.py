"""Whether an object in the cluster still is what was planned, as far as the plan goes.

Server-side apply records in `metadata.managedFields` which fields a manager owns. An object is as
planned when the fields that we own are exactly the planned ones and their values agree. Whoever
edits one of our fields takes it from us, and a field that we planned earlier but not any more is
still ours, so both show. Fields that others set beside ours do not matter.

The format of `fieldsV1`: https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson

_IDENTITY = ("apiVersion", "kind")
_METADATA_IDENTITY = ("name", "namespace", "uid")
_AMOUNT = re.compile(r"^([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(m|[kMGTPE]|[KMGTPE]i)?$")
_UNITS = {"": Decimal(1), "m": Decimal("0.001")}
_UNITS |= {unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", start=1)}
_UNITS |= {f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)}


def differs(
    planned: Mapping[str, Any], live: Mapping[str, Any], manager: str, subresource: str = ""
) -> str:
    """The path of the first field that is not as planned; empty if all are."""
    owned = owned_fields(live, manager, subresource)
    if owned is None:
        return "metadata.managedFields"
    ours = {key: value for key, value in planned.items() if key not in _IDENTITY}
    if "metadata" in ours:
        metadata = {k: v for k, v in ours["metadata"].items() if k not in _METADATA_IDENTITY}
        ours["metadata"] = metadata
        if not metadata:
            del ours["metadata"]
    return _differs(ours, live, owned, "")


def owned_fields(
    live: Mapping[str, Any], manager: str, subresource: str = ""
) -> Mapping[str, Any] | None:
    """The tree of fields that `manager` has applied; None if it never did."""
    for entry in live.get("metadata", {}).get("managedFields", ()):
        if (
            entry.get("manager") == manager
            and entry.get("operation") == "Apply"
            and entry.get("subresource", "") == subresource
        ):
            fields: Mapping[str, Any] = entry.get("fieldsV1", {})
            return fields
    return None


def _differs(planned: Any, live: Any, owned: Mapping[str, Any], path: str) -> str:
    if isinstance(planned, Mapping) and isinstance(live, Mapping):
        return _map_differs(planned, live, owned, path)
    if isinstance(planned, list) and isinstance(live, list):
        if any(key.startswith("k:") for key in owned):
            return _keyed_list_differs(planned, live, owned, path)
        return _atom_differs(planned, live, path)
    return "" if _same_scalar(planned, live, path) else path


def _map_differs(
    planned: Mapping[str, Any], live: Mapping[str, Any], owned: Mapping[str, Any], path: str
) -> str:
    if not owned and planned:
        # A leaf: the whole map is one value to the API server.
        return _atom_differs(planned, live, path)
    for name in owned:
        if name.startswith("f:") and name[2:] not in planned:
            return _below(path, name[2:])
    for name, value in planned.items():
        place = _below(path, name)
        if value is None or (value in ({}, []) and name not in live):
            continue
        if f"f:{name}" not in owned or name not in live:
            return place
        found = _differs(value, live[name], owned[f"f:{name}"], place)
        if found:
            return found
    return ""


def _keyed_list_differs(
    planned: Sequence[Any], live: Sequence[Any], owned: Mapping[str, Any], path: str
) -> str:
    keys = {name: orjson.loads(name[2:]) for name in owned if name.startswith("k:")}
    if len(keys) != len(planned):
        return path
    for item in planned:
        name = next((name for name, key in keys.items() if _has_key(item, key)), None)
        if name is None:
            return path
        here = next((other for other in live if _has_key(other, keys[name])), None)
        if here is None:
            return path
        label = "/".join(str(value) for value in keys[name].values())
        found = _differs(item, here, owned[name], f"{path}[{label}]")
        if found:
            return found
    return ""


def _has_key(item: Mapping[str, Any], key: Mapping[str, Any]) -> bool:
    # A key field that the plan leaves out has the default that the API server put into the key.
    return all(item.get(name, value) == value for name, value in key.items())


def _atom_differs(planned: Any, live: Any, path: str) -> str:
    """Compare where ownership has no finer grain; the API server may have added defaults."""
    if isinstance(planned, Mapping) and isinstance(live, Mapping):
        for name, value in planned.items():
            found = _atom_differs(value, live.get(name), _below(path, name))
            if found:
                return found
        return ""
    if isinstance(planned, list) and isinstance(live, list):
        if len(planned) != len(live):
            return path
        for index, (ours, theirs) in enumerate(zip(planned, live, strict=True)):
            found = _atom_differs(ours, theirs, f"{path}[{index}]")
            if found:
                return found
        return ""
    return "" if _same_scalar(planned, live, path) else path


def _same_scalar(planned: Any, live: Any, path: str) -> bool:
    if planned == live and isinstance(planned, bool) == isinstance(live, bool):
        return True
    # The API server writes amounts its own way: a CPU limit of 0.5 becomes 500m.
    if ".resources." not in path and not path.endswith("sizeLimit"):
        return False
    ours = _amount(planned)
    return ours is not None and ours == _amount(live)


def _amount(value: Any) -> Decimal | None:
    match = _AMOUNT.match(str(value))
    return Decimal(match[1]) * _UNITS[match[2] or ""] if match else None


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
