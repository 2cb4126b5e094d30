"""What is installed, and what is said where it cannot be."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cluster.kubernetes import packages
from cluster.kubernetes.problems import ClusterError


def test_packages_are_named_by_what_is_missing() -> None:
    there = set(packages.PACKAGES) - {"runc", "cc"}
    assert packages.missing(lambda name: name in there) == ["runc", "gcc", "libc6-dev"]


def test_nothing_missing_asks_nothing_of_apt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "missing", lambda: [])
    monkeypatch.setattr(subprocess, "run", None)
    packages.install()


def test_without_apt_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match="as root: apt-get install openssl util-linux") as error:
        packages.install()
    assert "\n" not in str(error.value)
