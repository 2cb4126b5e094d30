"""`modelrouter canary simulate`."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from modelrouter.cli import app

MANIFESTS = """
apiVersion: modelrouter.dev/v1alpha1
kind: ModelRoute
metadata: {name: support}
spec:
  models: [support]
  pools: [llama, next]
  canary:
    from: llama
    to: next
    steps: [{weight: 10, pause: 10m}, {weight: 50}]
    analysis:
      minRequests: 40
      checks:
      - {metric: errorRate, max: "0.10"}
"""


def simulate(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["canary", "simulate", *arguments])
    return result.exit_code, result.output


def test_it_tells_what_becomes_of_three_candidates() -> None:
    code, told = simulate("--seeds", "5", "--error-rate", "0.5", "--latency-factor", "3")
    assert code == 0
    assert "steps 5, 25, 50 %; 200 requests" in told
    assert "successRate minRatioToStable 0.99" in told
    assert "equal: falsely rolled back 0.0%" in told
    assert "errors 0.01 → 0.5: detected 100.0%, falsely promoted 0.0%" in told
    assert "latency times 3: detected 100.0%, falsely promoted 0.0%" in told


def test_the_same_command_gives_the_same_answer() -> None:
    arguments = ("--seeds", "3", "--requests", "40", "--min-requests", "20", "--steps", "10,50")
    assert simulate(*arguments) == simulate(*arguments)


def test_a_canary_of_manifests_is_tried(tmp_path: Path) -> None:
    (tmp_path / "route.yaml").write_text(MANIFESTS)
    code, told = simulate("-f", str(tmp_path), "--seeds", "4", "--error-rate", "0.5")
    assert code == 0, told
    assert "steps 10, 50 %" in told
    assert "minRequests 40; errorRate max 0.10" in told
    assert "errors 0.01 → 0.5: detected 100.0%" in told
    # Its one check does not look at latencies, and this shows.
    assert "latency times 1.3: detected 0.0%, falsely promoted 100.0%" in told


@pytest.mark.parametrize(
    ("change", "route", "problem"),
    [
        (("canary:", "canari:"), "", "canari"),
        (("name: support", "name: other"), "support", "found none"),
        (
            ('      checks:\n      - {metric: errorRate, max: "0.10"}\n', ""),
            "",
            "no check with a metric",
        ),
    ],
)
def test_what_cannot_be_tried_is_told(
    tmp_path: Path, change: tuple[str, str], route: str, problem: str
) -> None:
    (tmp_path / "route.yaml").write_text(MANIFESTS.replace(*change))
    code, told = simulate("-f", str(tmp_path), "--route", route)
    assert code == 2
    assert problem in told


def test_steps_have_to_grow() -> None:
    code, told = simulate("--steps", "5,3")
    assert code == 2
    assert "growing weights" in told
