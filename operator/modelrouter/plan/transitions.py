"""From one status to the next → the Events that tell people so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from modelrouter.plan.servers.verdict import ADAPTERS_LOADED, ON_THE_WAY, PODS_READY
from modelrouter.plan.verdicts import ACCEPTED, PENDING, READY, RESOLVED_REFS

TOLD = (ACCEPTED, RESOLVED_REFS, PODS_READY, ADAPTERS_LOADED, READY)
"""Conditions whose transitions are told. `Programmed` changes with every edit, `Ready` follows."""
_ON_THE_WAY = ("Programming", PENDING, *ON_THE_WAY)


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes Event, as far as it is about what happened."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


def transitions(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> list[Event]:
    """The Events for the way from the old status to the new one; none where nothing turned.

    What is only on its way is not told: the state before and the state after are.
    """
    before = _by_type(old or {})
    events: dict[str, Event] = {}
    for kind, condition in _by_type(new).items():
        if kind not in TOLD or condition["reason"] in _ON_THE_WAY:
            continue
        was = before.get(kind, {})
        if (was.get("status"), was.get("reason")) == (condition["status"], condition["reason"]):
            continue
        # That nothing is wrong is news only after something was; `Ready` is always worth telling.
        if condition["status"] == "True" and kind != READY and was.get("status") != "False":
            continue
        if condition["status"] != "Unknown":
            normal = condition["status"] == "True"
            # One cause may turn several conditions.
            events.setdefault(
                condition["reason"],
                Event("Normal" if normal else "Warning", condition["reason"], condition["message"]),
            )
    return list(events.values())


def _by_type(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    found = status.get("conditions") or ()
    return {c["type"]: c for c in found if isinstance(c, Mapping) and "type" in c}
