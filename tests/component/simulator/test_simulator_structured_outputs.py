"""Answers of a simulated vLLM that are JSON, with a schema or without."""

from __future__ import annotations

import json

from component.simulator.questions import STORY


def test_json_schema(simulator):
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 12},
            "age": {"type": "integer", "minimum": 18},
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2},
        },
        "required": ["name", "age", "tags"],
    }
    answer = simulator.client().chat.completions.create(
        model="m",
        messages=STORY,
        response_format={"type": "json_schema", "json_schema": {"name": "p", "schema": schema}},
    )
    value = json.loads(answer.choices[0].message.content)
    assert len(value["name"]) >= 12
    assert value["age"] >= 18
    assert value["tags"] == ["a", "a"]


def test_json_object(simulator):
    answer = simulator.client().chat.completions.create(
        model="m", messages=STORY, response_format={"type": "json_object"}
    )
    assert isinstance(json.loads(answer.choices[0].message.content), dict)
