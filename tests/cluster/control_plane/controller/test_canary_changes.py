"""What people change while a canary runs: its spec, or the annotation."""

from __future__ import annotations

import json
import time

from cluster.control_plane.controller.canaries import Stage, canary, figures
from cluster.control_plane.controller.operators import Installation
from cluster.control_plane.controller.waiting import eventually
from component.router.manifests import pool


def test_levers(stage: Stage) -> None:
    stage.begin()
    stage.here.apply(canary(paused=True))
    stage.measure(figures())
    paused = stage.reaches(("Paused", 1, 5), ("Paused", 0, 0))
    time.sleep(4)
    assert stage.place()[1:] == (paused["step"], paused["weight"])
    stage.here.apply(canary())
    stage.reaches(("Progressing", 2, 25))
    stage.annotate("pause")
    stage.reaches(("Paused", 2, 25), ("Paused", 3, 50))
    stage.annotate("abort")
    stage.reaches(("Aborted", 2, 0), ("Aborted", 3, 0))
    eventually(lambda: stage.weights() == {"old": 1})
    stage.annotate("")
    stage.reaches(("Progressing", 1, 5))
    stage.here.apply(canary(aborted=True))
    stage.reaches(*(("Aborted", step, 0) for step in (1, 2, 3)))
    # A step without a duration waits for its name.
    waiting = [{"weight": 10}, {"weight": 50, "pause": "1h"}]
    stage.here.apply(canary(steps=waiting))
    stage.reaches(("Paused", 1, 10))
    stage.annotate("resume:2")
    time.sleep(3)
    assert stage.place() == ("Paused", 1, 10)
    stage.annotate("resume:1")
    stage.reaches(("Progressing", 2, 50))
    stage.annotate("promote:old")
    time.sleep(2)
    assert stage.place() == ("Progressing", 2, 50)
    stage.annotate("promote:new")
    stage.reaches(("Promoted", 2, 100))


def test_the_same_manifest_again_changes_nothing(stage: Stage, installation: Installation) -> None:
    given = {"steps": [{"weight": 5, "pause": "1s"}, {"weight": 50, "pause": "1h"}]}
    stage.begin(**given)
    stage.measure(figures())
    stage.reaches(("Progressing", 2, 50))
    before = stage.here.get("mroute", "chat")
    stage.here.apply(canary(**given))
    listed = json.dumps(canary(**given))

    def nothing_differs() -> bool:
        difference = stage.here.kubernetes.kubectl(
            "diff", "--server-side", "-n", stage.here.namespace, "-f", "-",
            input=listed, check=False,
        )  # fmt: skip
        return difference == ""

    # kubectl reads twice, and the step's status may be written in between.
    eventually(nothing_differs)
    time.sleep(3)
    after = stage.here.get("mroute", "chat")
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert (stage.place(), after["status"]["canary"]["since"]) == (
        ("Progressing", 2, 50),
        before["status"]["canary"]["since"],
    )
    assert stage.weights() == {"old": 1, "new": 1}


def test_a_change_of_the_spec_in_mid_canary(stage: Stage) -> None:
    long = [{"weight": weight, "pause": "1h"} for weight in (20, 60)]
    stage.begin(steps=long)
    began = stage.reaches(("Progressing", 1, 20))
    # Other steps: the weight stays until the first step that has at least as much.
    stage.here.apply(canary(steps=[{"weight": w, "pause": "1h"} for w in (10, 20, 40)]))
    found = stage.reaches(("Progressing", 2, 20))
    assert (found["id"], found["steps"]) == (began["id"], 3)
    # Another candidate: from the beginning.
    stage.here.apply(pool("newer", "127.0.0.1:11", model="m"))
    stage.pod.tell("newer", 0, ready=1)
    other = canary(to="newer", steps=long)
    other["spec"]["pools"].append("newer")
    stage.here.apply(other)
    eventually(lambda: stage.status().get("to") == "newer")
    found = stage.reaches(("Progressing", 1, 20))
    assert found["id"] != began["id"]
    assert "CanaryRestarted" in stage.reasons()
    eventually(lambda: stage.weights() == {"old": 4, "newer": 1})
