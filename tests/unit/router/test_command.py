"""`modelrouter router` says what its options need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from component.router.processes import SOURCE
from modelrouter.cli import app


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "exactly one of --config and --kubernetes is needed"),
        (["--config", "c.json", "--kubernetes"], "exactly one of --config and --kubernetes"),
        (["--kubernetes", "--router", "chat"], "--kubernetes needs --namespace and --router"),
    ],
)
def test_options_that_do_not_go_together(options: list[str], said: str, tmp_path: Path) -> None:
    command = ["router", "--runtime-dir", str(tmp_path), *options]
    result = CliRunner().invoke(app, command, env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exit_code == 2
    assert said in result.output


def test_without_a_cluster_it_ends_and_says_why(tmp_path: Path) -> None:
    where = ["--namespace", "n", "--router", "chat", "--kubeconfig", str(tmp_path / "none")]
    command = [sys.executable, "-m", "modelrouter", "router", "--kubernetes", *where]
    ended = subprocess.run(
        [*command, "--runtime-dir", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert f"{tmp_path}/none cannot be used" in ended.stderr
    assert "Traceback" not in ended.stderr
