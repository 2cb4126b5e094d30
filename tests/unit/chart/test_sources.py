"""What of the chart can be checked without helm: it is complete, current and documented."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelrouter import __version__
from modelrouter.api.operator_config import LeaderElection
from modelrouter.api.router_settings import RouterSettings
from modelrouter.api.strictness import field_names

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "model-router"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
UNUSED = {"global"}
"""Helm itself sets it in charts that others depend on."""


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    for part in node.get("allOf", []):
        name = part["$ref"].removeprefix("#/definitions/")
        node = node | SCHEMA["definitions"][name]
    return node


def values_and_schema(
    values: dict[str, Any], node: dict[str, Any], path: str = ""
) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Each level of the values that has fixed names, with its schema."""
    yield path or ".", values, node
    for name, value in values.items():
        child = resolved(node["properties"][name])
        if isinstance(value, dict) and "properties" in child and "quantities" not in str(child):
            yield from values_and_schema(value, child, f"{path}.{name}")


def test_crds_readme_and_schema_are_current():
    """The CRDs are those of crds/, the table and the descriptions those of values.yaml."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "charts" / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_chart_has_every_crd():
    copies = {path.name: path.read_text() for path in (CHART / "files" / "crds").iterdir()}
    assert copies == {path.name: path.read_text() for path in (ROOT / "crds").iterdir()}
    assert len(copies) == 2


def test_the_schema_knows_every_value_and_no_other():
    for path, values, node in values_and_schema(VALUES, SCHEMA):
        known = set(node["properties"]) - UNUSED
        assert known == set(values), f"at {path}"
        assert node["additionalProperties"] is False, f"at {path}"


def test_every_value_has_an_explanation():
    for path, values, node in values_and_schema(VALUES, SCHEMA):
        for name, value in values.items():
            child = node["properties"][name]
            explained = "description" in child or "properties" in resolved(child)
            assert explained, f"{path}.{name} = {value}: write a comment above it"


def test_the_schema_refuses_what_is_not_a_schema_keyword():
    """A slip in a keyword would allow everything."""
    keywords = {
        *("$schema", "$ref", "title", "description", "type", "properties", "definitions", "allOf"),
        *("additionalProperties", "items", "enum", "pattern", "required", "if", "then", "const"),
        *("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"),
    }

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            assert set(node) <= keywords, set(node) - keywords
            for keyword, child in node.items():
                for part in child.values() if keyword in ("properties", "definitions") else [child]:
                    walk(part)
        elif isinstance(node, list):
            for part in node:
                walk(part)

    walk(SCHEMA)


def test_versions_are_those_of_the_program():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == __version__
    assert chart["version"] == __version__


@pytest.mark.parametrize(
    ("values", "model", "elsewhere"),
    [
        (VALUES["routers"], RouterSettings, {"imagePullPolicy"}),
        (VALUES["operator"]["leaderElection"], LeaderElection, {"namespace", "name"}),
    ],
    ids=["routers", "leaderElection"],
)
def test_values_offer_every_setting_with_its_default(values, model, elsewhere):
    assert set(values) | elsewhere == set(field_names(model))
    derived = {"agentImage": RouterSettings().agent_image}
    given = {name: value or derived.get(name, value) for name, value in values.items()}
    assert model.model_validate(given) == model()
