"""`modelrouter canary …` against an API server and an operator: what is ordered happens."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.control_plane.controller.canaries import Stage, canary, figures
from cluster.kubernetes.access import Kubernetes

LONG = [{"weight": 10, "pause": "1h"}, {"weight": 30}, {"weight": 50, "pause": "1h"}]


class Command:
    """The command line, as somebody with a kubeconfig uses it."""

    def __init__(self, kubernetes: Kubernetes, namespace: str) -> None:
        self._environment = {**kubernetes.environment, "NO_COLOR": "1", "COLUMNS": "160"}
        self._kubeconfig: Path = kubernetes.kubeconfig
        self._namespace = namespace

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "modelrouter", "canary", *arguments]
        command += ["-n", self._namespace, "--kubeconfig", str(self._kubeconfig)]
        return subprocess.run(
            command, env=self._environment, capture_output=True, text=True, check=False
        )

    def does(self, *arguments: str) -> str:
        done = self(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def command(kubernetes: Kubernetes, namespace: str) -> Command:
    return Command(kubernetes, namespace)


def test_levers_and_what_they_say(stage: Stage, command: Command) -> None:
    stage.begin(steps=LONG)
    stage.measure(figures())
    stage.reaches(("Progressing", 1, 10))
    assert "chat: Progressing, step 1 of 3, 10 % of old to new" in command.does("status", "chat")

    command.does("pause", "chat")
    stage.reaches(("Paused", 1, 10))
    command.does("resume", "chat")
    stage.reaches(("Progressing", 1, 10))
    assert command("resume", "chat").returncode == 2

    # The first step becomes short, so that the second one waits to be resumed.
    stage.here.apply(canary(steps=[{"weight": 10, "pause": "1s"}, *LONG[1:]]))
    stage.reaches(("Paused", 2, 30))
    done = command("resume", "chat", "--step", "1")
    assert (done.returncode, "is at step 2 of 3" in done.stderr) == (2, True)
    command.does("resume", "chat", "--step", "2")
    stage.reaches(("Progressing", 3, 50))

    found = json.loads(command.does("status", "chat", "-o", "json"))
    # Not its analysis, which goes on between the two looks.
    kept = ("id", "phase", "rule", "from", "to", "step", "steps", "weight", "since")
    status = stage.status()
    assert {name: found["canary"][name] for name in kept} == {name: status[name] for name in kept}
    assert found["upToDate"] is True

    command.does("abort", "chat")
    stage.reaches(("Aborted", 3, 0))
    assert command("status", "chat", "--wait", "--timeout", "30").returncode == 1
    assert "To begin anew" in command("resume", "chat").stderr


def test_promotion_by_hand_ends_the_waiting(stage: Stage, command: Command) -> None:
    stage.begin(steps=LONG)
    stage.reaches(("Progressing", 1, 10))
    command.does("promote", "chat")
    assert "Promoted" in command.does("status", "chat", "--wait", "--timeout", "60")
    assert stage.place() == ("Promoted", stage.status()["step"], 100)
    done = command("promote", "chat")
    assert done.returncode == 2
    assert "put new in place of old" in done.stderr
