"""The look for secret values reads the logs of pods, also of those that are gone."""

from __future__ import annotations

import pytest

from cluster.control_plane.controller.waiting import eventually
from cluster.kubernetes.access import Kubernetes
from cluster.kubernetes.images import operator_image_name
from cluster.node.workloads import Workloads
from cluster.secrecy import Recorder

# The run's own recorder must not find what is printed here on purpose.
MARK = "other-mark-4d7e"


def test_it_finds_what_a_pod_printed(kubernetes: Kubernetes, workloads: Workloads) -> None:
    if not kubernetes.is_own:
        pytest.skip("logs are read on the harness's own node")
    recorder = Recorder(kubernetes, MARK)
    recorder.start()
    try:
        eventually(lambda: recorder.looked_at["ConfigMap"] > 0)
        # In two pieces, so that it is in the log and not in the pod's description.
        script = f"print('Bearer', '{MARK[:6]}' + '{MARK[6:]}', flush=True)"
        command = ["python3", "-c", script]
        workloads.run("printing", operator_image_name(), command=command)
        workloads.kubectl("delete", "pod", "printing")
    finally:
        places = recorder.stop()
    found = [place for place in places if f"{workloads.namespace}_printing_" in place]
    assert found
    assert all(place.endswith(".log") and MARK not in place for place in found)
