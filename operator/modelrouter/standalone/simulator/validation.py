"""Bodies that are not what they should be, refused as vLLM's web framework refuses them.

This comes before all else that may be wrong with a request, an unknown model for example; only
what is wrong with the server, by a plan of faults, comes before that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelrouter.standalone.simulator.errors import ApiError

_LONGEST_INPUT = 200
"""Characters of a wrong value that an error repeats."""
_FIRST_MESSAGE_KIND = "ChatCompletionDeveloperMessageParam"
"""A message that fits none of the kinds there are is reported for each; the first is in `param`."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong."""

    kind: str
    """Pydantic's name for it."""

    place: str
    """Where: `body`, then names and positions, with dots between them."""

    message: str
    given: object
    """What is there instead; for a missing field all that is around it."""

    context: Mapping[str, object] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """As it is written in the error's message."""
        said: dict[str, object] = {"type": self.kind, "loc": self.place, "msg": self.message}
        said["input"] = _summary(self.given)
        if self.context:
            said["ctx"] = dict(self.context)
        return str(said)


def invalid(*faults: Fault) -> ApiError:
    """The error that names these faults, of which there is one at least."""
    count = f"{len(faults)} validation error{'s' if len(faults) > 1 else ''}"
    return ApiError(
        400,
        "\n".join([f"{count}:", *(f"  {fault.text}" for fault in faults)]),
        param=faults[0].place,
        error_type="Bad Request",
    )


def check_chat(body: dict[str, Any]) -> None:
    """Raises ApiError for a body that is no chat request."""
    names = ("max_tokens", "max_completion_tokens", "n", "min_tokens")
    _refuse([*_messages(body), *_model(body), *_integers(body, *names)])


def check_completion(body: dict[str, Any]) -> None:
    """Raises ApiError for a body that is no completion request. Its prompt is not looked at."""
    _refuse([*_model(body), *_integers(body, "max_tokens", "n", "min_tokens")])


def check_input(body: dict[str, Any]) -> None:
    """Raises ApiError for model or messages of another kind, where messages may be missing."""
    messages = _messages(body) if body.get("messages") is not None else ()
    _refuse([*_model(body), *messages])


def check_adapter(body: dict[str, Any], *names: str) -> None:
    """Raises ApiError if one of these fields of a request about an adapter is not text."""
    _refuse(fault for name in names for fault in (_missing(body, name) or _text(body[name], name)))


def _refuse(faults: Iterable[Fault]) -> None:
    found = list(faults)
    if found:
        raise invalid(*found)


def _missing(body: dict[str, Any], name: str) -> list[Fault]:
    return [] if name in body else [Fault("missing", f"body.{name}", "Field required", body)]


def _model(body: dict[str, Any]) -> list[Fault]:
    return [] if body.get("model") is None else _text(body["model"], "model")


def _text(value: object, name: str) -> list[Fault]:
    if isinstance(value, str):
        return []
    return [Fault("string_type", f"body.{name}", "Input should be a valid string", value)]


def _messages(body: dict[str, Any]) -> list[Fault]:
    if "messages" not in body:
        return _missing(body, "messages")
    messages = body["messages"]
    if not isinstance(messages, list):
        return [Fault("list_type", "body.messages", "Input should be a valid list", messages)]
    faults = []
    for index, message in enumerate(messages):
        place = f"body.messages.{index}.{_FIRST_MESSAGE_KIND}"
        if not isinstance(message, dict):
            faults.append(Fault("dict_type", place, "Input should be a valid dictionary", message))
            continue
        content = message.get("content")
        if not isinstance(content, str | list | None):
            text = "Input should be a valid string"
            faults.append(Fault("string_type", f"{place}.content", text, content))
    return faults


def _integers(body: dict[str, Any], *names: str) -> list[Fault]:
    faults = []
    for name in names:
        value = body.get(name)
        kind, text = _not_an_integer(value)
        if value is not None and kind:
            faults.append(Fault(kind, f"body.{name}", f"Input should be a valid {text}", value))
    return faults


def _not_an_integer(value: object) -> tuple[str, str]:
    """What is wrong with it; numbers in text are fine, as are 1.0 and true."""
    if isinstance(value, str):
        if not re.fullmatch(r"\s*[+-]?\d+\s*", value):
            return "int_parsing", "integer, unable to parse string as an integer"
    elif isinstance(value, float):
        if not value.is_integer():
            return "int_from_float", "integer, got a number with a fractional part"
    elif not isinstance(value, int):
        return "int_type", "integer"
    return "", ""


def _summary(value: object) -> str:
    if isinstance(value, list | dict):
        return f"<{type(value).__name__} of {len(value)} items>"
    text = str(value)
    return text if len(text) <= _LONGEST_INPUT else text[:_LONGEST_INPUT] + "...[truncated]"
