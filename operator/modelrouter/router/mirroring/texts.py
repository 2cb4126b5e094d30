"""Reading prompts and answers, plain or streamed, as OpenAI's API has them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

_PROMPT_FIELDS = ("messages", "prompt", "input")


@dataclass(frozen=True, slots=True)
class Prompt:
    """What was asked."""

    digest: str
    """A hash of the prompt alone: equal prompts have equal ones, whatever else a request says."""
    text: str
    """What a person would read of it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered."""

    text: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    """Tools called: names, and arguments as canonical JSON where they are any."""
    failed: bool = False
    """Whether it is an error, or no answer that can be read."""
    comparable: bool = True
    """Whether it has a text at all: embeddings have none."""


def read_prompt(body: bytes) -> Prompt:
    """The prompt of a request. One that was cut, or is no JSON, counts as a whole."""
    data = _json(body)
    value = next((data[name] for name in _PROMPT_FIELDS if name in data), None) if data else None
    if value is None:
        return Prompt(_digest(body), "")
    text = "\n\n".join(_texts(value))
    return Prompt(_digest(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)), text)


def read_answer(status: int, content_type: str, body: bytes) -> Answer:
    """The answer that this body holds."""
    if not 200 <= status < 300:
        return Answer(failed=True)
    if "event-stream" in content_type:
        return _streamed(body)
    data = _json(body)
    if data is None or "error" in data:
        return Answer(failed=True)
    if "choices" not in data:
        return Answer(comparable=False)
    text, calls = [], []
    for choice in _dicts(data["choices"]):
        message = choice.get("message")
        if isinstance(message, dict):
            text.append(_text(message.get("content")))
            calls += [_call(call) for call in _dicts(message.get("tool_calls"))]
        else:
            text.append(_text(choice.get("text")))
    return Answer("\n".join(text), tuple(calls))


def _streamed(body: bytes) -> Answer:
    text: list[str] = []
    names: dict[tuple[int, int], str] = {}
    arguments: dict[tuple[int, int], str] = {}
    seen = False
    for event in _events(body):
        if "error" in event:
            return Answer(failed=True)
        for choice in _dicts(event.get("choices")):
            seen = True
            delta = choice.get("delta")
            if not isinstance(delta, dict):
                text.append(_text(choice.get("text")))
                continue
            text.append(_text(delta.get("content")))
            for call in _dicts(delta.get("tool_calls")):
                place = (_number(choice.get("index")), _number(call.get("index")))
                name, given = _function(call)
                names[place] = names.get(place, "") + name
                arguments[place] = arguments.get(place, "") + given
    calls = tuple((name, _canonical(arguments[place])) for place, name in sorted(names.items()))
    return Answer("".join(text), calls, failed=not seen)


def _events(body: bytes) -> Iterator[dict[str, Any]]:
    for line in body.split(b"\n"):
        if line.startswith(b"data:"):
            event = _json(line[5:])
            if event is not None:
                yield event


def _json(text: bytes) -> dict[str, Any] | None:
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return data if isinstance(data, dict) else None


def _dicts(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _function(call: dict[str, Any]) -> tuple[str, str]:
    function = call.get("function")
    if not isinstance(function, dict):
        return "", ""
    return _text(function.get("name")), _text(function.get("arguments"))


def _call(call: dict[str, Any]) -> tuple[str, str]:
    name, given = _function(call)
    return name, _canonical(given)


def _canonical(arguments: str) -> str:
    try:
        value = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _texts(value: object) -> Iterator[str]:
    """All texts of a prompt: itself, a list of them, or the contents of messages."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, dict):
        yield from _texts(value.get("content") or value.get("text"))


def _digest(text: bytes) -> str:
    return blake2b(text, digest_size=8).hexdigest()
