"""Estimating tokens without a tokenizer.

Each model has its own tokenizer and the router does not know them; running one would cost
milliseconds. The estimate, in tokens:

    (3 · UTF-8 bytes - characters) / 8

For ASCII that is 4 characters a token, OpenAI's rule of thumb for English
(https://help.openai.com/en/articles/4936856). A character of 2 bytes (Cyrillic, Greek, Arabic,
accented Latin) counts 0.63, of 3 bytes (Chinese, Japanese, Korean, Thai) 1.0, of 4 bytes (emoji)
1.4 tokens, which is what current tokenizers need for such text or a little more.

Limits: ordinary English is off by about 15 %; source code, digits and base64 need more tokens than
estimated (about 3 characters each), white space fewer. Leave such a margin in `contextWindow` and
`promptTokens`.
"""

from __future__ import annotations

import orjson

TOKENS_PER_MESSAGE = 4
"""Role and separators of a chat message: three to four with OpenAI's models
(https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken)."""

TOKENS_PER_IMAGE = 765
"""A flat number per image: 1024 by 1024 in high detail, 85 + 4 tiles of 170, after
https://platform.openai.com/docs/guides/images-vision. The length of its URL or base64 says nothing
about what it costs."""

SAMPLED_ABOVE = 1024
"""Length in characters above which text with characters beyond ASCII is sampled, because encoding
all of it takes as long as parsing it."""

EIGHTHS_PER_TOKEN = 8


def text_eighths(text: str) -> int:
    """The estimate for a text in eighths of a token, so that parts add up without rounding."""
    characters = len(text)
    if text.isascii():
        return 2 * characters
    if characters <= SAMPLED_ABOVE:
        return 3 * _utf8_length(text) - characters
    # Evenly spaced characters stand for all: texts of this length are alike throughout, or
    # nearly, and the estimate is no better than that anyway.
    sample = text[:: characters // 512]
    return characters * (3 * _utf8_length(sample) - len(sample)) // len(sample)


def text_tokens(text: str) -> int:
    """The estimate for a text in whole tokens, rounded up."""
    return whole(text_eighths(text))


def whole(eighths: int) -> int:
    """Whole tokens, rounded up."""
    return (eighths + EIGHTHS_PER_TOKEN - 1) // EIGHTHS_PER_TOKEN


def json_eighths(value: object) -> int:
    """The estimate for a parsed value that reaches the model as JSON, such as tool schemas."""
    try:
        size = len(orjson.dumps(value))
    except TypeError:  # Nested deeper than orjson writes: 254 levels. No schema is.
        return 0
    return 2 * size


def input_tokens(value: object) -> int:
    """The estimate for `prompt` or `input`: the largest one when there are several.

    It may be a text, a list of texts, one list of token ids or a list of such lists. The backend
    runs each on its own, so the largest is what must fit the context window.
    """
    if isinstance(value, str):
        return text_tokens(value)
    if not isinstance(value, list) or not value:
        return 0
    if isinstance(value[0], int):
        return len(value)
    largest = 0
    for item in value:
        if isinstance(item, str):
            size = text_eighths(item)
        elif isinstance(item, list):
            size = EIGHTHS_PER_TOKEN * len(item)
        else:
            continue
        if size > largest:
            largest = size
    return whole(largest)


def _utf8_length(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
