"""Values made from JSON schemas."""

from __future__ import annotations

import re
from typing import Any

import pytest

from modelrouter.standalone.simulator.regex_example import regex_example
from modelrouter.standalone.simulator.schema import SchemaError, schema_example

NODE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "value": {"type": "integer"},
                "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            },
            "required": ["value", "next"],
        }
    },
    "$ref": "#/$defs/node",
}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (True, "text"),
        ({}, "text"),
        ({"type": "string"}, "text"),
        ({"type": "string", "minLength": 6}, "textxx"),
        ({"type": "string", "maxLength": 2}, "te"),
        ({"type": "string", "format": "date"}, "2025-01-01"),
        ({"type": "string", "pattern": "^[A-Z]{3}-\\d{2}$"}, "AAA-00"),
        ({"type": "integer"}, 1),
        ({"type": "integer", "minimum": 18}, 18),
        ({"type": "integer", "maximum": -3}, -3),
        ({"type": "integer", "exclusiveMinimum": 4, "maximum": 5}, 5),
        ({"type": "integer", "minimum": 10, "multipleOf": 7}, 14),
        ({"type": "number", "exclusiveMinimum": 0.1, "exclusiveMaximum": 0.3}, 0.2),
        ({"type": "boolean"}, True),
        ({"type": ["string", "null"]}, "text"),
        ({"type": "null"}, None),
        ({"enum": ["x", "y"]}, "x"),
        ({"const": {"a": 1}}, {"a": 1}),
        ({"type": "array", "items": {"type": "integer"}}, []),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 1]),
        (
            {"type": "array", "items": {"enum": [1, 2]}, "minItems": 2, "uniqueItems": True},
            [1, 2],
        ),
        ({"prefixItems": [{"const": 1}, {"const": 2}], "minItems": 2}, [1, 2]),
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, {}),
        ({"properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a"]}, {"a": 1}),
        ({"type": "object", "minProperties": 1}, {"key0": "text"}),
        ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, 1),
        (
            {
                "allOf": [
                    {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
                    {"properties": {"b": {"type": "null"}}, "required": ["b"]},
                ]
            },
            {"a": 1, "b": None},
        ),
        ({"$defs": {"a/b": {"const": 3}}, "$ref": "#/$defs/a~1b"}, 3),
    ],
)
def test_minimal_value(schema: Any, value: Any) -> None:
    assert schema_example(schema) == value


def test_recursion_ends_where_it_may() -> None:
    depth = 0
    node = schema_example(NODE)
    while node is not None:
        assert node["value"] == 1
        node = node["next"]
        depth += 1
    assert depth < 20


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        (False, r"\$: no value"),
        ({"type": "object", "properties": {"a": False}, "required": ["a"]}, r"\$\.a: no value"),
        ({"type": "integer", "minimum": 5, "maximum": 4}, "bounds"),
        ({"$ref": "#/nowhere"}, "does not exist"),
        ({"$ref": "https://example.com/schema"}, "outside"),
        ({"$ref": "#"}, "circle"),
        ({"type": "array", "items": {"$ref": "#"}, "minItems": 1}, "without end"),
        ({"type": "banana"}, "unknown type"),
        ({"type": "string", "pattern": "("}, "pattern"),
    ],
)
def test_impossible(schema: Any, text: str) -> None:
    with pytest.raises(SchemaError, match=text):
        schema_example(schema)


@pytest.mark.parametrize(
    "pattern",
    [
        r"^\d{4}-\d{2}-\d{2}$",
        r"^(cat|dog)s?$",
        r"[^a-z0-9]+",
        r"^\w+@\w+\.(com|org)$",
        r"(?P<a>x|y)-\1",
        r"^[\d\-]{3,}$",
        r"a.c",
        r"[^\d]x",
    ],
)
def test_regex_example(pattern: str) -> None:
    text = regex_example(pattern)
    assert text is not None
    assert re.search(pattern, text)
