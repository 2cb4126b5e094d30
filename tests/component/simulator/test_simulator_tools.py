"""Tools of a chat: when a simulated vLLM calls one, and when it answers with text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from component.simulator.questions import STORY

TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                },
                "required": ["city", "unit"],
            },
        },
    }
]


@pytest.mark.parametrize(
    ("choice", "question", "reason"),
    [
        ("required", "hello", "tool_calls"),
        ("auto", "use get_weather for Oslo", "tool_calls"),
        ("auto", "please call a tool", "tool_calls"),
        ({"type": "function", "function": {"name": "get_weather"}}, "hello", "stop"),
    ],
)
def test_tool_call(simulator, choice, question, reason):
    client = simulator.client()
    messages: Any = [{"role": "user", "content": question}]
    answer = client.chat.completions.create(
        model="m", messages=messages, tools=TOOLS, tool_choice=choice
    )
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments)["unit"] == "celsius"
    assert answer.choices[0].finish_reason == reason
    chunks = list(
        client.chat.completions.create(
            model="m", messages=messages, tools=TOOLS, tool_choice=choice, stream=True
        )
    )
    parts = [c for k in chunks for c in (k.choices[0].delta.tool_calls or [])]
    assert parts[0].id == call.id
    assert parts[0].function.name == "get_weather"
    assert "".join(p.function.arguments or "" for p in parts) == call.function.arguments
    assert chunks[-1].choices[0].finish_reason == reason


@pytest.mark.parametrize(
    ("choice", "messages"),
    [
        ("auto", STORY),
        ("none", [{"role": "user", "content": "use get_weather"}]),
        (
            "auto",
            [
                {"role": "user", "content": "use get_weather"},
                {"role": "tool", "content": "12 degrees", "tool_call_id": "x"},
            ],
        ),
    ],
)
def test_text_although_there_are_tools(simulator, choice, messages):
    answer = simulator.client().chat.completions.create(
        model="m", messages=messages, tools=TOOLS, tool_choice=choice
    )
    message = answer.choices[0].message
    assert message.content
    assert "tool_calls" not in message.model_fields_set
