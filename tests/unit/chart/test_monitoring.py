"""The chart's alerts and dashboard ask for what routers and operator really tell."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelrouter.api.canary_status import AnalysisOutcome, CanaryPhase

ROOT = Path(__file__).parents[3]
FILES = ROOT / "charts" / "model-router" / "files"
SOURCE = ROOT / "operator" / "modelrouter"
GROUPS = yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"]
ALERTS = [rule for group in GROUPS for rule in group["rules"]]
DASHBOARD = json.loads((FILES / "dashboard.json").read_text())
SUFFIXES = ("", "_total", "_bucket", "_sum", "_count", "_info")


def dashboard_queries() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["expr"]


QUERIES = [*(rule["expr"] for rule in ALERTS), *dashboard_queries()]


@pytest.fixture(scope="module")
def metrics() -> set[str]:
    """All names of metrics that the source has, as they are exposed."""
    texts = (path.read_text() for path in SOURCE.rglob("*.py"))
    families = {name for text in texts for name in re.findall(r'"(modelrouter_[a-z_]+)"', text)}
    return {family + suffix for family in families for suffix in SUFFIXES}


def test_every_metric_exists(metrics: set[str]) -> None:
    asked = {name for query in QUERIES for name in re.findall(r"modelrouter_[a-z_]+", query)}
    assert len(asked) > 20
    assert asked - metrics == set()


def test_phases_and_outcomes_are_those_of_canaries() -> None:
    phases, outcomes = ({value.value for value in kind} for kind in (CanaryPhase, AnalysisOutcome))
    for query in QUERIES:
        for known, label in ((phases, "phase"), (outcomes, "outcome"), (phases, "to")):
            for value in re.findall(rf'\b{label}=~?"([^"]*)"', query):
                assert set(value.split("|")) <= known, query
    drawn = next(panel for panel in DASHBOARD["panels"] if panel["title"] == "Phases")
    (mapping,) = drawn["fieldConfig"]["defaults"]["mappings"]
    for number, shown in mapping["options"].items():
        assert (
            f"{number} * max by (namespace, route) (modelrouter_canary_phase{{"
            in (drawn["targets"][0]["expr"])
        )
        assert f'phase="{shown["text"]}"' in drawn["targets"][0]["expr"]
    assert {shown["text"] for shown in mapping["options"].values()} == phases


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_alerts_say_what_is_wrong_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("info", "warning", "critical")
    assert set(rule["annotations"]) == {"summary", "description"}
    kept = {"namespace", "route", "pool", "pod", "router", "queue"}
    for text in rule["annotations"].values():
        for label in re.findall(r"\$labels\.(\w+)", text):
            assert label in kept
            assert re.search(rf"by \([^)]*\b{label}\b", rule["expr"]), f"{label} is summed away"


def test_alerts_and_panels_have_names_of_their_own() -> None:
    names = [rule["alert"] for rule in ALERTS]
    titles = [panel["title"] for panel in DASHBOARD["panels"]]
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    for found in (names, titles, numbers):
        assert len(set(found)) == len(found)


def test_canaries_are_on_the_dashboard() -> None:
    titles = {panel["title"] for panel in DASHBOARD["panels"]}
    assert {"Weights", "Success rate by arm", "Latency by arm (p95)"} <= titles


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.fixture(scope="module")
def promtool() -> str:
    """Prometheus's own checker, where it is installed (Debian's package prometheus has it)."""
    if path := shutil.which("promtool"):
        return path
    if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
        pytest.fail("no promtool: apt-get install prometheus", pytrace=False)
    pytest.skip("no promtool: apt-get install prometheus")


def test_alerts_fire_as_they_should(promtool: str) -> None:
    done = subprocess.run(
        [promtool, "test", "rules", str(Path(__file__).parent / "alerts_test.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_queries_of_the_dashboard_are_queries(promtool: str, tmp_path: Path) -> None:
    filled = [
        query.replace("$__rate_interval", "5m").replace("$__interval", "1m")
        for query in dashboard_queries()
    ]
    rules = [{"record": f"query:{n}", "expr": query} for n, query in enumerate(filled)]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(
        [promtool, "check", "rules", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
