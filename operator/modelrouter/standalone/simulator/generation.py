"""What the model answers: a pure function of the seed and of what is asked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b, shake_128
from typing import Any

import orjson

from modelrouter.standalone.simulator.errors import ApiError
from modelrouter.standalone.simulator.prompts import Prompt
from modelrouter.standalone.simulator.regex_example import regex_example
from modelrouter.standalone.simulator.schema import SchemaError, schema_example

_VOCABULARY = (
    "the a one this that every some no its our time light river stone garden window paper "
    "morning winter market story question answer letter number signal pattern engine bridge "
    "harbour island valley forest meadow lantern compass mirror thread needle copper silver "
    "moves turns holds carries finds leaves keeps opens closes follows gathers measures "
    "remembers returns begins ends quietly slowly often never always almost again and or but "
    "so yet then while until because over under beside between through small large old new "
    "bright dark open quiet early late warm cold green blue"
)
_WORDS = tuple(_VOCABULARY.split())


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that the model asks the client to call. Its arguments are the answer's text."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Answer:
    """One choice of an answer."""

    pieces: tuple[str, ...]
    """The text, one piece per token."""

    finish_reason: str
    stop_reason: str | None = None
    """The stop string that ended the text."""

    tool: ToolCall | None = None
    """The call, if the text is the arguments of one."""

    tokens: int = 0
    """Tokens generated, also those that a stop string took back."""

    @property
    def text(self) -> str:
        """All pieces together."""
        return "".join(self.pieces)


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an answer may be."""

    tokens: int
    """Tokens of an answer that nothing cuts."""

    max_tokens: int
    """The request's own limit, or what is left of the context window."""

    stop: tuple[str, ...] = ()
    """Texts at which the answer ends; they are not part of it."""


def source_of(prompt: Prompt, *, seed: int, request_seed: object, choice: int) -> bytes:
    """The randomness of one answer: equal requests to equally seeded servers get equal text."""
    key = repr((seed, choice, request_seed)).encode()[:64]
    return blake2b(prompt.source, digest_size=16, key=key).digest()


def text_answer(source: bytes, limits: Limits) -> Answer:
    """Plain words."""
    return _cut(_words(source, min(limits.tokens, limits.max_tokens)), limits, limits.tokens)


def fixed_answer(text: str, limits: Limits, tool: ToolCall | None = None) -> Answer:
    """A text that the request prescribes, such as JSON. Only `max_tokens` and `stop` cut it."""
    # Three characters a token: real tokenizers spend more tokens on JSON than on prose.
    pieces = [text[start : start + 3] for start in range(0, len(text), 3)]
    return _cut(pieces[: limits.max_tokens], limits, len(pieces), tool)


def _words(source: bytes, count: int) -> list[str]:
    picks = shake_128(source).digest(count)
    words = [" " + _WORDS[pick % len(_WORDS)] for pick in picks]
    if words:
        words[0] = words[0].strip().capitalize()
    return words


def _cut(pieces: list[str], limits: Limits, wanted: int, tool: ToolCall | None = None) -> Answer:
    reason = "stop" if wanted <= limits.max_tokens else "length"
    if limits.stop:
        text = "".join(pieces)
        found = [(text.find(stop), stop) for stop in limits.stop if stop and stop in text]
        if found:
            end, stop = min(found)
            return _stopped(pieces, end, stop, tool)
    return Answer(tuple(pieces), reason, None, tool, len(pieces))


def _stopped(pieces: list[str], end: int, stop: str, tool: ToolCall | None) -> Answer:
    kept: list[str] = []
    room = end
    read = 0
    tokens = 0
    for piece in pieces:
        tokens += 1
        read += len(piece)
        if room > 0:
            kept.append(piece[:room])
            room -= len(piece)
        if read >= end + len(stop):
            break
    return Answer(tuple(kept), "stop", stop, tool, tokens)


def structured_text(body: dict[str, Any], source: bytes) -> str | None:
    """The text that the request's output format demands; none if it leaves the text free.

    Understands `response_format`, vLLM's `structured_outputs` and its older `guided_*` fields.
    """
    response_format = body.get("response_format")
    outputs = body.get("structured_outputs")
    outputs = outputs if isinstance(outputs, dict) else {}
    kind = response_format.get("type") if isinstance(response_format, dict) else None
    schema: Any = outputs.get("json", body.get("guided_json"))
    if isinstance(response_format, dict) and kind == "json_schema":
        described = response_format.get("json_schema")
        schema = described.get("schema") if isinstance(described, dict) else None
        if schema is None:
            raise ApiError(400, "json_schema.schema is required", param="response_format")
    if schema is not None:
        if isinstance(schema, str):
            schema = orjson.loads(schema)
        return _json_example(schema, source, "response_format")
    if kind == "json_object" or outputs.get("json_object"):
        return orjson.dumps({"answer": "".join(_words(source, 6))}).decode()
    choice = outputs.get("choice", body.get("guided_choice"))
    if choice:
        return str(choice[source[0] % len(choice)])
    pattern = outputs.get("regex", body.get("guided_regex"))
    if pattern:
        text = regex_example(pattern)
        if text is None:
            raise ApiError(400, f"no text found for the pattern {pattern!r}", param="regex")
        return text
    return None


def chosen_tool(body: dict[str, Any], prompt: Prompt) -> tuple[dict[str, Any], str] | None:
    """The function to call and the finish reason; none if the answer is text.

    With `tool_choice` left to the model it calls a tool when the user's last message names one
    ("get_weather" or "get weather") or asks to use or call a tool.
    """
    functions = [
        tool["function"]
        for tool in body.get("tools") or ()
        if isinstance(tool, dict) and isinstance(tool.get("function"), dict)
    ]
    choice = body.get("tool_choice", "auto")
    if choice == "none" or not functions:
        if isinstance(choice, dict) or choice == "required":
            raise ApiError(
                400, "When using `tool_choice`, `tools` must be set.", param="tool_choice"
            )
        return None
    if isinstance(choice, dict):
        name = (choice.get("function") or {}).get("name")
        for function in functions:
            if function.get("name") == name:
                # The OpenAI API and vLLM both say "stop" when the request names the function.
                return function, "stop"
        raise ApiError(
            400,
            "The tool specified in `tool_choice` does not match any of the specified `tools`",
            param="tool_choice",
        )
    if choice == "required":
        return functions[0], "tool_calls"
    ask = prompt.ask.lower()
    for function in functions:
        name = str(function.get("name", "")).lower()
        if name and (name in ask or name.replace("_", " ") in ask):
            return function, "tool_calls"
    if re.search(r"\b(use|call)\b.{0,40}\b(tool|function)s?\b", ask):
        return functions[0], "tool_calls"
    return None


def tool_answer(function: dict[str, Any], reason: str, source: bytes, limits: Limits) -> Answer:
    """A call of this function with arguments that its schema accepts."""
    parameters = function.get("parameters") or {"type": "object"}
    arguments = _json_example(parameters, source, "tools")
    call = ToolCall(f"chatcmpl-tool-{source.hex()}", str(function.get("name", "")))
    answer = fixed_answer(arguments, limits, call)
    if answer.finish_reason == "length":
        return answer
    return Answer(answer.pieces, reason, answer.stop_reason, call, answer.tokens)


def _json_example(schema: Any, source: bytes, param: str) -> str:
    try:
        value = schema_example(schema, word=_words(source, 1)[0].lower())
    except SchemaError as error:
        raise ApiError(400, f"schema: {error}", param=param) from error
    return orjson.dumps(value).decode()
