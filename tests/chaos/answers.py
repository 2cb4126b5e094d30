"""What the right answer to a request is, and whether an answer is that.

The simulated model's text is a function of the prompt, so every token is known beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

from modelrouter.standalone.simulator.generation import Limits, source_of, text_answer
from modelrouter.standalone.simulator.prompts import chat_prompt

DONE = b"[DONE]"


@dataclass(frozen=True)
class Question:
    """One request."""

    number: int
    model: str
    tokens: int
    """Of the answer."""
    streamed: bool

    @property
    def messages(self) -> list[dict[str, str]]:
        """No two requests are equal."""
        return [{"role": "user", "content": f"Question number {self.number}, please."}]

    @property
    def body(self) -> dict[str, Any]:
        """Of the request."""
        return {
            "model": self.model,
            "messages": self.messages,
            "max_tokens": self.tokens,
            "ignore_eos": True,
            "stream": self.streamed,
        }

    @cached_property
    def pieces(self) -> tuple[str, ...]:
        """The right answer, token by token."""
        source = source_of(chat_prompt(self.messages), seed=0, request_seed=None, choice=0)
        return text_answer(source, Limits(self.tokens + 1, self.tokens)).pieces


class Wrong(Exception):  # noqa: N818 - what is wrong with an answer
    """An answer that is not right; the message says why."""


class ErrorEvent(Wrong):
    """A stream that says itself that it failed."""


def check_whole(question: Question, body: bytes) -> None:
    """Raises Wrong."""
    try:
        choice = orjson.loads(body)["choices"][0]
        text, reason = choice["message"]["content"], choice["finish_reason"]
    except (ValueError, LookupError, TypeError):
        raise Wrong(f"no answer: {body[:200]!r}") from None
    check_end(question, text, reason)


def check_end(question: Question, text: str, reason: str | None) -> None:
    """Raises Wrong where the text or its end is not right."""
    if reason != "length":
        raise Wrong(f"it ends with finish_reason {reason!r} after {len(text)} characters")
    if text != "".join(question.pieces):
        raise Wrong(f"another text: {text[:100]!r}")


class StreamCheck:
    """Reads a stream of events and compares each token as it comes."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._rest = b""
        self._reason: str | None = None
        self.tokens = 0
        """That were right."""
        self.done = False

    def feed(self, data: bytes) -> None:
        """Raises Wrong at the first thing that is not right."""
        *events, self._rest = (self._rest + data).split(b"\n\n")
        for event in events:
            if event.startswith(b":"):
                continue  # a comment
            if not event.startswith(b"data: "):
                raise Wrong(f"no event: {event[:100]!r}")
            self._take(event[6:])

    def end(self) -> None:
        """Raises Wrong where the stream is not complete."""
        if not self.done:
            raise Wrong(f"it ends cleanly, but after {self.tokens} tokens")
        if self._rest:
            raise Wrong(f"there is more after the end: {self._rest[:100]!r}")

    def _take(self, data: bytes) -> None:
        if self.done:
            raise Wrong("there are events after the end")
        if data == DONE:
            if self._reason != "length" or self.tokens != len(self._question.pieces):
                raise Wrong(f"done after {self.tokens} tokens, finish_reason {self._reason!r}")
            self.done = True
            return
        try:
            value = orjson.loads(data)
        except ValueError:
            raise Wrong(f"no JSON: {data[:100]!r}") from None
        if "error" in value:
            raise ErrorEvent(f"an error event after {self.tokens} tokens: {data[:200]!r}")
        for choice in value["choices"]:
            self._reason = choice["finish_reason"] or self._reason
            if text := choice["delta"].get("content"):
                self.take_piece(text)

    def take_piece(self, text: str) -> None:
        """The next token."""
        pieces = self._question.pieces
        if self.tokens >= len(pieces) or pieces[self.tokens] != text:
            raise Wrong(f"token {self.tokens} is {text!r}")
        self.tokens += 1
