"""Reading a request: what a policy needs to know of it, or why it cannot be served.

Only what the router itself needs must be right: JSON, an object, a `model`. Everything else is the
backend's to judge, so odd types are tolerated and passed on.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import orjson

from modelrouter.api.pool import Feature
from modelrouter.policy.locating import Span, locate_model
from modelrouter.policy.messages import measure, opening
from modelrouter.policy.refusal import Refusal, quoted
from modelrouter.policy.rendezvous import digest
from modelrouter.policy.tokens import input_tokens, json_eighths, whole


class Endpoint(StrEnum):
    """Which of OpenAI's endpoints a request is for."""

    CHAT = "chat"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"


ENDPOINTS: Mapping[str, Endpoint] = {
    "/v1/chat/completions": Endpoint.CHAT,
    "/v1/completions": Endpoint.COMPLETIONS,
    "/v1/embeddings": Endpoint.EMBEDDINGS,
}
"""The endpoints by path."""

PROMPT_PARAM: Mapping[Endpoint, str] = {
    Endpoint.CHAT: "messages",
    Endpoint.COMPLETIONS: "prompt",
    Endpoint.EMBEDDINGS: "input",
}
"""The parameter that holds the prompt."""

DATA_CLASS_HEADER = "x-data-class"
"""The header that labels a request's data: classes separated by commas."""

_TOOLS, _JSON_SCHEMA, _IMAGES = 1, 2, 4
_FEATURES = tuple(
    frozenset(
        feature.value
        for bit, feature in (
            (_TOOLS, Feature.TOOLS),
            (_JSON_SCHEMA, Feature.JSON_SCHEMA),
            (_IMAGES, Feature.IMAGES),
        )
        if bits & bit
    )
    for bits in range(8)
)
_NO_CLASSES: frozenset[str] = frozenset()


class RequestFacts(NamedTuple):
    """What a policy knows of a request. A named tuple, because it is made once per request and a
    frozen dataclass takes five times as long to build."""

    request_id: str
    endpoint: Endpoint
    model: str
    """The virtual model asked for."""
    stream: bool
    features: frozenset[str]
    """What the request needs, as in `Feature`: `tools` for any tools or functions, `jsonSchema`
    for an answer that must follow a schema (`response_format.type` is `json_schema`; the older
    `json_object` promises no schema, nearly every model can do it, and it is not counted),
    `images` for any image in a message."""
    prompt_tokens: int
    """Estimated tokens of the prompt; with several inputs, of the largest."""
    completion_tokens: int
    """Tokens of the answer that were asked for at most; 0 when nothing was said."""
    data_classes: frozenset[str]
    """The labels from the header, in lower case; empty when unlabelled."""
    headers: Mapping[str, str]
    """Request headers by lower-case name."""
    model_span: Span | None
    """Offsets in the body of the top-level `model`'s value, quotes included, if found cheaply."""
    prompt: object
    """The parsed `messages`, `prompt` or `input`. It keeps the body's text in memory."""

    @property
    def prefix_key(self) -> str:
        """A stable hash of how the prompt begins, as 16 hexadecimal digits; computed when asked
        for. Prompts of one conversation, or with the same long instructions, share it."""
        return digest(opening(self.prompt))


def read_request(
    path: str, headers: Mapping[str, str], body: bytes, request_id: str
) -> RequestFacts | Refusal:
    """The facts of a request, or why it is refused. Never raises, whatever the bytes are.

    Header names are in lower case; a header that came several times has its values joined by
    commas.
    """
    endpoint = ENDPOINTS.get(path) or ENDPOINTS.get(path.partition("?")[0])
    if endpoint is None:
        message = f"Unknown URL: {quoted(path)}. Known are {', '.join(ENDPOINTS)}."
        return Refusal(404, message, code="unknown_url")
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return _unreadable(body, error)
    if not isinstance(data, dict):
        return _refuse(
            f"The request body must be a JSON object; it is {_kind(data)}.", None, "invalid_body"
        )
    model = data.get("model")
    if not isinstance(model, str) or not model:
        return _without_model(data)

    bits = 0
    if endpoint is Endpoint.CHAT:
        prompt = data.get("messages")
        eighths, images, audio = measure(prompt)
        if audio:
            return _no_audio("messages")
        if images:
            bits = _IMAGES
        if "tools" in data or "functions" in data:
            tools = data.get("tools") or data.get("functions")
            if tools:
                bits |= _TOOLS
                eighths += json_eighths(tools)
        prompt_tokens = whole(eighths)
    else:
        prompt = data.get(PROMPT_PARAM[endpoint])
        prompt_tokens = input_tokens(prompt)
    if "response_format" in data:
        response_format = data["response_format"]
        if isinstance(response_format, dict) and response_format.get("type") == "json_schema":
            bits |= _JSON_SCHEMA
    if data.get("audio"):
        return _no_audio("audio")
    if "modalities" in data:
        modalities = data["modalities"]
        if isinstance(modalities, list) and "audio" in modalities:
            return _no_audio("modalities")

    labels = headers.get(DATA_CLASS_HEADER)
    return RequestFacts(
        request_id,
        endpoint,
        model,
        data.get("stream") is True,
        _FEATURES[bits],
        prompt_tokens,
        _completion_tokens(data),
        _split(labels) if labels else _NO_CLASSES,
        headers,
        locate_model(body),
        prompt,
    )


def _completion_tokens(data: dict[str, Any]) -> int:
    """`max_completion_tokens` or the older `max_tokens`; what is no count counts nothing."""
    for name in ("max_completion_tokens", "max_tokens"):
        limit = data.get(name)
        if type(limit) is int:  # Not bool, which is an int too.
            return max(limit, 0)
    return 0


def _split(labels: str) -> frozenset[str]:
    return frozenset(label for part in labels.split(",") if (label := part.strip().lower()))


def _unreadable(body: bytes, error: orjson.JSONDecodeError) -> Refusal:
    if not body:
        return _refuse("The request body is empty; it must be a JSON object.", None, "invalid_json")
    try:
        body.decode()
    except UnicodeDecodeError as broken:
        return _refuse(
            f"The request body is not valid UTF-8: byte {broken.start} is wrong.",
            None,
            "invalid_utf8",
        )
    # orjson stops at 1024 levels; with unclosed brackets it runs out of its own buffer before.
    if error.msg.startswith(("depth limit", "recursion limit", "failed to allocate")):
        return _refuse(
            "The request body is nested too deeply; at most 1024 levels are read.",
            None,
            "nested_too_deeply",
        )
    return _refuse(f"The request body is not valid JSON: {error}.", None, "invalid_json")


def _without_model(data: dict[str, Any]) -> Refusal:
    if "model" not in data:
        return _refuse(
            "You must provide a model: the parameter `model` is missing.", "model", "missing_model"
        )
    if data["model"] == "":
        return _refuse("The parameter `model` is empty; name a model.", "model", "invalid_model")
    return _refuse(
        f"The parameter `model` must be a string; it is {_kind(data['model'])}.",
        "model",
        "invalid_model",
    )


def _no_audio(param: str) -> Refusal:
    return _refuse(
        "Audio is not supported. Messages may hold text and images; answers are text.",
        param,
        "audio_not_supported",
    )


def _refuse(message: str, param: str | None, code: str) -> Refusal:
    return Refusal(400, message, param=param, code=code)


def _kind(value: object) -> str:
    """What JSON calls a value's type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"
