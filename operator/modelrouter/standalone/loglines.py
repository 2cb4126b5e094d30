"""Log lines of the agent and of Envoy, as events for people."""

from __future__ import annotations

import json
import re

from modelrouter.standalone.events import Event, Level

_AGENT_LEVELS = {"warning": Level.WARNING, "error": Level.ERROR, "critical": Level.ERROR}
_ENVOY_LINE = re.compile(
    r"^\[[^]]*\]\[\d+\]\[(?P<level>\w+)\]\[(?P<logger>\w+)\] (?:\[[^]]*\] )?(?P<text>.*)$"
)
_ENVOY_LEVELS = {"error": Level.WARNING, "critical": Level.ERROR}
_FRAME = ("level", "event", "timestamp")


def agent_event(line: str) -> Event:
    """One of the agent's lines, which are JSON unless Python itself complains."""
    try:
        record = json.loads(line)
        text = str(record["event"])
    except (ValueError, TypeError, KeyError):
        return Event(Level.DETAIL, f"agent: {line}")
    values = "".join(f" {key}={value}" for key, value in record.items() if key not in _FRAME)
    level = _AGENT_LEVELS.get(str(record.get("level")), Level.DETAIL)
    return Event(level, f"agent: {text}{values}")


def envoy_event(line: str) -> Event:
    """One of Envoy's lines. Its warnings are about details; its errors are worth a warning."""
    match = _ENVOY_LINE.match(line)
    if match is None:
        return Event(Level.DETAIL, f"envoy: {line}")
    level = _ENVOY_LEVELS.get(match["level"], Level.DETAIL)
    return Event(level, f"envoy: {match['text']}")
