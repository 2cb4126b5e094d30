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

    salt: str = ""
    """Prompts share cached blocks only with prompts of the same salt."""

    def continued(self, answer: str) -> bytes:
        """How a later prompt begins that carries this one and its answer."""
        return self.data + self.turn + encode(answer)


def count_tokens(data: bytes) -> int:
    """Tokens in a text; an empty one has none."""
    return -(-len(data) // BYTES_PER_TOKEN)


def encode(text: str) -> bytes:
    """UTF-8, also of the lone surrogates that JSON escapes can spell."""
    return text.encode("utf-8", "surrogatepass")


def text_prompt(value: object) -> Prompt:
    """A prompt of `/v1/completions` or `/v1/embeddings`: a string or a list of token numbers."""
    if isinstance(value, str):
        data = encode(value)
        return Prompt(data, count_tokens(data), value)
    if isinstance(value, list) and all(isinstance(token, int) for token in value):
        return Prompt(b"".join(map(_token, value)), len(value))
    raise ApiError(400, "prompt must be a string or a list of token ids", param="prompt")


def _token(number: int) -> bytes:
    """A token number as text of BYTES_PER_TOKEN bytes."""
    return b64encode((number % (1 << 24)).to_bytes(3, "big"))


def text_prompts(value: object) -> list[Prompt]:
    """The prompts of a request that may carry several."""
    if isinstance(value, list) and value and not isinstance(value[0], int):
        return [text_prompt(item) for item in value]
    if value is None or value == []:
        raise ApiError(400, "You must provide a prompt", param="prompt")
    return [text_prompt(value)]


def chat_prompt(messages: object, tools: object = None) -> Prompt:
    """The prompt of `/v1/chat/completions`: tools first, as chat templates do, then messages."""
    if not isinstance(messages, list) or not messages:
        raise ApiError(
            400,
            "1 validation error:\n  {'type': 'missing', 'loc': ('body', 'messages'), "
            "'msg': 'Field required'}",
            param="messages",
        )
    parts: list[bytes] = []
    extra_tokens = 0
    if tools:
        parts.append(b"<|tools|>" + orjson.dumps(tools))
    ask = ""
    for message in messages:
        if not isinstance(message, dict):
            raise ApiError(400, "each message must be an object", param="messages")
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


def salted(prompts: list[Prompt], model: str, body: dict[str, Any]) -> list[Prompt]:
    """The prompts, apart in the cache from those of other adapters and other `cache_salt`s."""
    salt = f"{model} {body.get('cache_salt') or ''}"
    return [replace(prompt, salt=salt) for prompt in prompts]


def _content(content: object) -> tuple[str, int]:
    """A message's text and the number of its images."""
    if isinstance(content, str):
        return content, 0
    if content is None:
        return "", 0
    if not isinstance(content, list):
        raise ApiError(400, "content must be a string or a list of parts", param="messages")
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
