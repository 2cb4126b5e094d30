"""Log lines become events that say how much they matter."""

from __future__ import annotations

import pytest

from modelrouter.standalone.events import Level
from modelrouter.standalone.loglines import agent_event, envoy_event


@pytest.mark.parametrize(
    ("line", "level", "text"),
    [
        (
            '{"event": "agent is up", "level": "info", "timestamp": "x", "admin": "a:1"}',
            Level.DETAIL,
            "agent: agent is up admin=a:1",
        ),
        ('{"event": "rejected", "level": "error"}', Level.ERROR, "agent: rejected"),
        ("Traceback (most recent call last):", Level.DETAIL, "agent: Traceback"),
        ("[1, 2]", Level.DETAIL, "agent: [1, 2]"),
    ],
)
def test_lines_of_the_agent(line: str, level: Level, text: str):
    event = agent_event(line)
    assert event.level is level
    assert event.text.startswith(text)


@pytest.mark.parametrize(
    ("line", "level", "text"),
    [
        (
            "[2026-11-21 14:26:28.065][23][warning][main] [source/server/server.cc:1] caught it",
            Level.DETAIL,
            "envoy: caught it",
        ),
        ("[2026-11-21 14:26:28.065][23][critical][main] no room", Level.ERROR, "envoy: no room"),
        ("what is this", Level.DETAIL, "envoy: what is this"),
    ],
)
def test_lines_of_envoy(line: str, level: Level, text: str):
    event = envoy_event(line)
    assert event.level is level
    assert event.text == text
