"""Chat messages: their size, what they hold besides text, and how they begin.

Messages come as clients send them. What is not as OpenAI has it is skipped, never an error: the
backend knows best what it takes.
"""

from __future__ import annotations

from typing import NamedTuple

from modelrouter.policy.tokens import (
    EIGHTHS_PER_TOKEN,
    TOKENS_PER_IMAGE,
    TOKENS_PER_MESSAGE,
    json_eighths,
    text_eighths,
)

OPENING_LENGTH = 1024
"""Characters of a prompt's beginning that tell prompts apart: about 256 tokens, what OpenAI hashes
to find the machine with a warm cache (https://platform.openai.com/docs/guides/prompt-caching)."""

_MESSAGE = TOKENS_PER_MESSAGE * EIGHTHS_PER_TOKEN
_IMAGE = TOKENS_PER_IMAGE * EIGHTHS_PER_TOKEN
_INSTRUCTING = ("system", "developer")


class Measured(NamedTuple):
    """What messages hold."""

    eighths: int
    """Estimated size in eighths of a token."""
    images: bool
    audio: bool


def measure(messages: object) -> Measured:
    """Size and kinds of content of the parsed `messages`."""
    if not isinstance(messages, list):
        return Measured(0, False, False)
    eighths = _MESSAGE * len(messages)
    images = audio = False
    for message in messages:
        if not isinstance(message, dict):
            continue
        content = message.get("content")
        if isinstance(content, str):
            eighths += 2 * len(content) if content.isascii() else text_eighths(content)
        elif isinstance(content, list):
            parts = _measure_parts(content)
            eighths += parts.eighths
            images = images or parts.images
            audio = audio or parts.audio
        if len(message) > 2:
            if message.get("tool_calls"):
                eighths += json_eighths(message["tool_calls"])
            if message.get("audio"):
                audio = True
    return Measured(eighths, images, audio)


def _measure_parts(parts: list[object]) -> Measured:
    eighths = 0
    images = audio = False
    for part in parts:
        if isinstance(part, str):
            eighths += text_eighths(part)
        elif isinstance(part, dict):
            text = part.get("text")
            if isinstance(text, str):
                eighths += text_eighths(text)
            kind = part.get("type")
            if kind == "image_url" or kind == "input_image":
                eighths += _IMAGE
                images = True
            elif kind == "input_audio" or kind == "audio":
                audio = True
    return Measured(eighths, images, audio)


def opening(prompt: object) -> str:
    """How a prompt begins: the part that stays the same from turn to turn of a conversation.

    Of messages, the text up to and including the first that does not instruct (the user's first).
    What follows grows with each turn and would move the conversation to another place. Of a plain
    prompt or input, its first text or token ids.
    """
    if isinstance(prompt, str):
        return prompt[:OPENING_LENGTH]
    if not isinstance(prompt, list) or not prompt:
        return ""
    first = prompt[0]
    if isinstance(first, str):
        return first[:OPENING_LENGTH]
    if isinstance(first, int | float):
        return ",".join(str(token) for token in prompt[:256])[:OPENING_LENGTH]
    if isinstance(first, list):
        return ",".join(str(token) for token in first[:256] if isinstance(token, int))
    text = ""
    for message in prompt:
        if not isinstance(message, dict):
            break
        text += _first_text(message.get("content"), OPENING_LENGTH - len(text))
        if len(text) >= OPENING_LENGTH or message.get("role") not in _INSTRUCTING:
            break
    return text


def _first_text(content: object, limit: int) -> str:
    if isinstance(content, str):
        return content[:limit]
    text = ""
    if isinstance(content, list):
        for part in content:
            piece = part.get("text") if isinstance(part, dict) else part
            if isinstance(piece, str):
                text += piece[: limit - len(text)]
            if len(text) >= limit:
                break
    return text
