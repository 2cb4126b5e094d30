"""An operator may be killed in any phase of a canary: it goes on where it was."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from cluster.control_plane.controller.canaries import begun, figures, following
from cluster.control_plane.controller.conftest import Install, Router
from cluster.control_plane.controller.resources import Resources


def test_an_operator_that_is_killed_in_any_phase_goes_on_where_it_was(
    install: Install, resources: Resources, router: Router, tmp_path: Path
) -> None:
    election = {"leaseDuration": "4s", "renewDeadline": "3s", "retryPeriod": "1s"}
    operator = install(operator={"leaderElection": election}).operator().lead()
    stage = begun(resources, router)

    def killed() -> None:
        place = stage.place()
        operator.kill()
        operator._identity = ""
        assert stage.place()[2] == place[2]
        operator.start().lead()

    stage.pod.tell("new", 0, ready=0)
    steps: list[dict[str, Any]] = [
        {"weight": 5, "pause": "12s"}, {"weight": 25}, {"weight": 50, "pause": "12s"},
    ]  # fmt: skip
    stage.begin(steps=steps)
    with following(stage.here, tmp_path / "places") as places:
        stage.measure(figures())
        stage.reaches(("Pending", 0, 0))
        killed()
        stage.pod.tell("new", 0, ready=1)
        since = stage.reaches(("Progressing", 1, 5))["since"]
        killed()
        assert (stage.status()["step"], stage.status()["since"]) == (1, since)
        stage.reaches(("Paused", 2, 25))
        killed()
        time.sleep(3)
        assert stage.place() == ("Paused", 2, 25)
        stage.annotate("resume:2")
        stage.reaches(("Progressing", 3, 50))
        killed()
        stage.reaches(("Promoted", 3, 100))
        killed()
        time.sleep(3)
        assert stage.weights() == {"new": 1}
        stage.annotate("abort")
        stage.reaches(("Aborted", 3, 0))
        killed()
        time.sleep(2)
        assert stage.place() == ("Aborted", 3, 0)
        seen = [place for place in places() if place[0] != "Pending"]
    assert seen == [
        ("Progressing", 1, 5), ("Progressing", 2, 25), ("Paused", 2, 25), ("Progressing", 3, 50),
        ("Promoted", 3, 100), ("Aborted", 3, 0),
    ]  # fmt: skip
    assert stage.weights() == {"old": 1}
    stage.annotate("")
    stage.measure(figures(errors=200))
    stage.reaches(("RolledBack", 1, 0))
    killed()
    time.sleep(2)
    assert stage.place() == ("RolledBack", 1, 0)
