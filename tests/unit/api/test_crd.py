"""CustomResourceDefinitions: what kind of schema they hold. Cluster tests try them out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelrouter.api.crd import definition_files, definitions

ROOT = Path(__file__).resolve().parents[3]
KINDS = sorted(definitions())


def fields(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every value that a schema describes, with its path."""
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from fields(field, f"{path}.{name}")
    for name, suffix in (("items", "[]"), ("additionalProperties", "{}")):
        if name in schema:
            yield from fields(schema[name], path + suffix)


def described(file: str) -> dict[str, dict[str, Any]]:
    (version,) = definitions()[file]["spec"]["versions"]
    found = version["schema"]["openAPIV3Schema"]["properties"]
    return dict(fields(found["spec"], "spec")) | dict(fields(found["status"], "status"))


def test_the_files_are_what_the_models_say() -> None:
    written = {path.name: path.read_text("utf-8") for path in (ROOT / "crds").iterdir()}
    assert written == definition_files(), "run make crds"


@pytest.mark.parametrize("file", KINDS)
def test_schemas_are_structural(file: str) -> None:
    for path, schema in described(file).items():
        either = schema.get("x-kubernetes-int-or-string")
        assert ("type" in schema) != bool(either), path
        assert ("anyOf" in schema) == bool(either), path
        unknown = {"$ref", "$defs", "const", "title", "propertyNames"} & set(schema)
        assert not unknown, f"{path}: {unknown}"


@pytest.mark.parametrize("file", KINDS)
def test_everything_has_a_limit_so_that_rules_are_cheap(file: str) -> None:
    for path, schema in described(file).items():
        limits = {"string": {"maxLength", "enum", "format"}, "array": {"maxItems"}}
        limits["object"] = {"maxProperties", "properties"}
        if needed := limits.get(schema.get("type", "")):
            assert needed & set(schema), path


@pytest.mark.parametrize("file", KINDS)
def test_lists_say_who_may_own_their_items_and_fields_what_they_mean(file: str) -> None:
    for path, schema in described(file).items():
        if schema.get("type") == "array":
            assert "x-kubernetes-list-type" in schema, path
        if not path.endswith(("[]", "{}")):
            assert schema["description"].endswith("."), path
            assert "\n" not in schema["description"], path


@pytest.mark.parametrize("file", KINDS)
def test_rules_talk_to_people(file: str) -> None:
    rules = [
        (path, rule)
        for path, schema in described(file).items()
        for rule in schema.get("x-kubernetes-validations", [])
    ]
    assert rules
    for path, rule in rules:
        assert len(rule["message"]) >= 10, path
        assert "self" not in rule["message"], path
