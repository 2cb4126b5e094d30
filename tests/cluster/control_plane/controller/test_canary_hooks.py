"""Hooks of a canary, asked and told by an operator."""

from __future__ import annotations

import itertools
import time

from cluster.control_plane.controller.canaries import Stage, figures
from cluster.control_plane.controller.hooks import Hook
from cluster.control_plane.controller.waiting import eventually


def test_hooks_let_steps_begin_and_are_told_of_transitions(stage: Stage) -> None:
    before, on = Hook(), Hook()
    before.status = 503
    hooks = [
        {"name": "load-test", "url": before.url, "at": "BeforeStep"},
        {"name": "chat", "url": on.url, "at": "OnTransition"},
    ]
    stage.begin(hooks=hooks)
    stage.measure(figures())
    eventually(lambda: "hook load-test answered 503" in stage.status()["message"])
    assert stage.place() == ("Pending", 0, 0)
    before.status = 204
    stage.reaches(("Progressing", 1, 5))
    before.status = 302
    time.sleep(4)
    assert stage.place() == ("Progressing", 1, 5)
    before.status = 200
    stage.reaches(("Promoted", 3, 100))
    steps = [step for step, _ in itertools.groupby(body["step"] for body in before.bodies)]
    assert steps == [1, 2, 3]
    weights = [body["weight"] for body in on.bodies if body["phase"] != "Pending"]
    assert weights == [5, 25, 50, 100]
    before.stop()
    on.stop()
