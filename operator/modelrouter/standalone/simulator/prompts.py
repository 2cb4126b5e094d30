"""What a request says to the model: its text and its size.

There is no tokenizer: a token is four bytes of UTF-8, about four characters of English.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import orjson

from modelrouter.standalone.simulator.errors import ApiError
from modelrouter.standalone.simulator.validation import Fault, invalid

BYTES_PER_TOKEN = 4
"""Bytes of UTF-8 in one simulated token."""

IMAGE_TOKENS = 256
"""Tokens an image takes in the context, whatever its size."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt as the model would read it."""

    data: bytes
    """The rendered text. Equal beginnings are equal prefixes for the cache."""

    tokens: int
    """Its length in tokens."""

    ask: str = ""
    """The text of the last message if a user wrote it: what the model is asked right now."""

    turn: bytes = b""
    """What a rendered conversation puts between this prompt and the answer to it."""

    adapter: str = ""
    """The LoRA adapter that reads it; none if the base model does."""

    salt: str = ""
    """Prompts share cached blocks only with prompts of the same salt and adapter."""

    @property
    def source(self) -> bytes:
        """All of it that an answer depends on: an adapter says other things than its base."""
        return encode(self.adapter) + b"\0" + self.data if self.adapter else self.data

    def continued(self, answer: str) -> bytes:
        """How a later prompt begins that carries this one and its answer."""
        return self.data + self.turn + encode(answer)


def count_tokens(data: bytes) -> int:
    """Tokens in a text; an empty one has none."""
    return -(-len(data) // BYTES_PER_TOKEN)


def encode(text: str) -> bytes:
    """UTF-8, also of the lone surrogates that JSON escapes can spell."""
    return text.encode("utf-8", "surrogatepass")


def text_prompt(value: object, name: str = "prompt") -> Prompt:
    """A prompt of `/v1/completions` or `/v1/embeddings`: a string or a list of token numbers.

    `name` is the field's.
    """
    if isinstance(value, str):
        data = encode(value)
        return Prompt(data, count_tokens(data), value)
    if isinstance(value, list) and all(isinstance(token, int) for token in value):
        return Prompt(b"".join(map(_token, value)), len(value))
    raise invalid(Fault("string_type", f"body.{name}", "Input should be a valid string", value))


def _token(number: int) -> bytes:
    """A token number as text of BYTES_PER_TOKEN bytes."""
    return b64encode((number % (1 << 24)).to_bytes(3, "big"))


def text_prompts(value: object, name: str = "prompt") -> list[Prompt]:
    """The prompts of a request that may carry several."""
    if isinstance(value, list) and value and not isinstance(value[0], int):
        return [text_prompt(item, name) for item in value]
    if value is None or value in ([], ""):
        text = f"Either {name} or {name}_embeds must be provided and non-empty. (parameter={name})"
        raise ApiError(400, text, param=name)
    return [text_prompt(value, name)]


def chat_prompt(messages: list[dict[str, Any]], tools: object = None) -> Prompt:
    """The prompt of `/v1/chat/completions`: tools first, as chat templates do, then messages."""
    if not messages:
        raise ApiError(400, "messages must not be empty", param="messages")
    parts: list[bytes] = []
    extra_tokens = 0
    if tools:
        parts.append(b"<|tools|>" + orjson.dumps(tools))
    ask = ""
    for message in messages:
        role = str(message.get("role", "user"))
        text, images = _content(message.get("content"))
        extra_tokens += images * IMAGE_TOKENS
        calls = message.get("tool_calls")
        parts.append(encode(f"<|{role}|>{text}"))
        if calls:
            parts.append(orjson.dumps(calls))
        ask = text if role == "user" else ""
    data = b"\n".join(parts)
    return Prompt(data, count_tokens(data) + extra_tokens, ask, turn=b"\n<|assistant|>")


def addressed(prompts: list[Prompt], adapter: str, body: dict[str, Any]) -> list[Prompt]:
    """The prompts of a request, for this adapter (none: empty) and with its `cache_salt`."""
    salt = str(body.get("cache_salt") or "")
    return [replace(prompt, adapter=adapter, salt=salt) for prompt in prompts]


def _content(content: str | list[Any] | None) -> tuple[str, int]:
    """A message's text and the number of its images."""
    if content is None or isinstance(content, str):
        return content or "", 0
    texts: list[str] = []
    images = 0
    for part in content:
        text, is_image = _part(part)
        texts.append(text)
        images += is_image
    return "\n".join(texts), images


def _part(part: Any) -> tuple[str, bool]:
    if isinstance(part, str):
        return part, False
    if not isinstance(part, dict):
        raise ApiError(400, "a content part must be an object", param="messages")
    kind = part.get("type")
    if kind in ("text", "input_text", "refusal") or (kind is None and "text" in part):
        return str(part.get("text", part.get("refusal", ""))), False
    if kind in ("image_url", "input_image", "image_embeds", "image_pil"):
        # The picture itself would count as text tokens; its digest keeps pictures apart.
        digest = blake2b(orjson.dumps(part), digest_size=8).hexdigest()
        return f"<image {digest}>", True
    if kind in ("input_audio", "audio_url"):
        raise ApiError(400, "At most 0 audio(s) may be provided in one prompt.", param=None)
    raise ApiError(400, f"Unknown part type: {kind}", param="messages")
