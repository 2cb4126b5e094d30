"""Knowing whether a cluster runs, by its folder."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from cluster.kubernetes import tools
from cluster.kubernetes.problems import ClusterError
from cluster.kubernetes.running import find, running


def _state(run: Path, pid: int) -> None:
    state = {"url": "https://127.0.0.1:1", "tools": "/tools", "node": False, "seconds": 8.0}
    (run / "cluster.json").write_text(json.dumps(state))
    (run / "pid").write_text(str(pid))


def test_an_empty_folder_has_no_cluster(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="no cluster runs in"):
        find(tmp_path)


def test_a_folder_left_behind_has_no_cluster(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    _state(tmp_path, ended.pid)
    with pytest.raises(ClusterError, match="no cluster runs in"):
        find(tmp_path)


def test_a_cluster_is_found_and_not_started_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _state(tmp_path, os.getpid())
    assert find(tmp_path).kubeconfig == tmp_path / "kubeconfig"
    monkeypatch.setattr(tools, "build", lambda: tmp_path)
    with pytest.raises(ClusterError, match=r"runs in .* already"), running(tmp_path):
        pass


def test_a_process_that_has_ended_but_was_not_asked_after_does_not_run(tmp_path: Path) -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    _state(tmp_path, child.pid)
    cluster = find(tmp_path)
    assert not cluster.runs()
    child.wait()
