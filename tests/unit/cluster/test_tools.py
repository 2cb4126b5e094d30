"""Pinned tools: one folder per set of pins."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.kubernetes import tools
from cluster.kubernetes.problems import ClusterError


def test_a_changed_pin_has_a_folder_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "helm").mkdir()
    pin = tmp_path / "helm" / "go.mod"
    pin.write_text("module a\n")
    first = tools.digest(tmp_path)
    assert tools.digest(tmp_path) == first
    pin.write_text("module b\n")
    assert tools.digest(tmp_path) != first


def test_network_plugins_go_where_containerd_looks_for_them() -> None:
    bridge = "github.com/containernetworking/plugins/plugins/main/bridge"
    assert tools.group_by_folder(["k8s.io/kubernetes/cmd/kubelet", bridge]) == {
        "bin": ["k8s.io/kubernetes/cmd/kubelet"],
        "cni": [bridge],
    }


def test_without_go_the_message_says_which_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELROUTER_CLUSTER_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match=r"needs Go 1\.26 .*not on PATH"):
        tools.build()
