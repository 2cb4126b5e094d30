"""Draining by files, without an Envoy."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from component.router.processes import eventually
from modelrouter.router.kubernetes.draining import drain_on_request


class Scene:
    """An agent and an Envoy that only note what happens."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.draining = False
        self.drains = 0
        self.envoy_started_at: float | None = time.time() - 60

    def start_draining(self) -> None:
        self.draining = True

    def stop_draining(self) -> None:
        self.draining = False

    async def drain(self) -> None:
        self.drains += 1

    async def started_at(self) -> float | None:
        return self.envoy_started_at

    def ask(self, age: float = 0.0) -> None:
        asked = self.directory / "drain"
        asked.touch()
        os.utime(asked, (time.time() - age,) * 2)

    @property
    def answered(self) -> bool:
        return (self.directory / "drained").exists()


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    scene = Scene(tmp_path)
    task = asyncio.create_task(
        drain_on_request(tmp_path, scene, scene.drain, scene.started_at, shortest_seconds=0.3)
    )
    yield scene
    task.cancel()


async def test_drains_once_for_the_shortest_time_at_least(scene: Scene) -> None:
    began = time.monotonic()
    scene.ask()
    await eventually(lambda: scene.draining)
    assert not scene.answered
    await eventually(lambda: scene.answered)
    assert time.monotonic() - began >= 0.3
    await asyncio.sleep(0.7)
    assert scene.drains == 1
    assert scene.draining


async def test_a_request_for_the_envoy_before_is_dropped(scene: Scene) -> None:
    scene.ask()
    await eventually(lambda: scene.answered)
    scene.envoy_started_at = time.time() + 5
    await eventually(lambda: not scene.draining)
    assert not scene.answered
    assert not (scene.directory / "drain").exists()


async def test_an_agent_that_is_new_goes_on_draining(scene: Scene) -> None:
    """It was restarted in the middle; Envoy's container still waits."""
    scene.ask(age=20)
    await eventually(lambda: scene.answered)
    assert scene.drains == 1


async def test_an_envoy_that_is_gone_needs_no_drain_but_an_answer(scene: Scene) -> None:
    scene.envoy_started_at = None
    scene.ask()
    await eventually(lambda: scene.answered)
    assert scene.draining
