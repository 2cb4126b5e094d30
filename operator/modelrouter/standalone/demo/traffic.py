"""Traffic as applications make it: the official `openai` client, without retries of its own."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import openai

from modelrouter.standalone.demo.tally import Answer, Tally

CHAT_MODEL, SEARCH_MODEL = "support-assistant", "support-search"
_WORKERS = 12
_PAUSE = 0.05
"""Seconds between two requests of one worker."""
_SESSIONS = 240
_PATIENCE = 30.0
"""Seconds after which a request counts as failed."""
_KINDS = ("chat", "stream", "chat", "tools", "stream", "embeddings")
_QUESTIONS = (
    "Where is my order?",
    "How do I reset my password?",
    "The invoice of March is wrong. What now?",
    "Summarise our return policy in two sentences.",
)
_TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "find_order",
            "description": "Find an order by its number",
            "parameters": {
                "type": "object",
                "properties": {"number": {"type": "string"}},
                "required": ["number"],
            },
        },
    }
]


class WrongAnswerError(Exception):
    """The answer came, but it is not what was asked for."""


class StreamCutError(Exception):
    """A stream ended half-way."""


@dataclass(slots=True)
class Traffic:
    """A steady load on one router."""

    url: str
    tally: Tally
    may_be_cut: Callable[[float, float], bool]
    """Whether a server was killed in a span of time, so that a stream in it may end half-way."""
    seed: int = 0
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self) -> None:
        """Send no more requests; `run` ends when those under way have ended."""
        self._stopping.set()

    async def run(self) -> None:
        """Send requests until told to stop."""
        async with openai.AsyncOpenAI(
            base_url=self.url, api_key="the-client-needs-one", max_retries=0, timeout=_PATIENCE
        ) as client:
            numbers = itertools.count()
            async with asyncio.TaskGroup() as workers:
                for _ in range(_WORKERS):
                    workers.create_task(self._work(client, numbers))

    async def _work(self, client: openai.AsyncOpenAI, numbers: itertools.count[int]) -> None:
        chance = random.Random(self.seed + next(numbers))
        await asyncio.sleep(chance.random() * 0.2)
        while not self._stopping.is_set():
            kind = _KINDS[next(numbers) % len(_KINDS)]
            session = f"session-{chance.randrange(_SESSIONS)}"
            answer = await self._ask(client, kind, session, chance.choice(_QUESTIONS))
            self.tally.add(answer)
            await asyncio.sleep(_PAUSE * (0.5 + chance.random()))

    async def _ask(
        self, client: openai.AsyncOpenAI, kind: str, session: str, question: str
    ) -> Answer:
        started = time.monotonic()
        cuts = 0
        while True:
            try:
                answer = await _send(client, kind, session, question)
                return replace(answer, started=started, cuts=cuts)
            except StreamCutError as error:
                # No router can finish what a killed server was saying, nor take it back. An
                # application asks again, and so does this one, once.
                now = time.monotonic()
                if cuts or not self.may_be_cut(started, now):
                    return _failed(kind, session, started, str(error) or "the stream was cut")
                cuts += 1
            except Exception as error:  # whatever it is, it is no answer
                text = f"{type(error).__name__}: {error}"
                return _failed(kind, session, started, text)


def _failed(kind: str, session: str, started: float, failure: str) -> Answer:
    now = time.monotonic()
    return Answer(kind, session, started, now, now, failure=failure)


async def _send(client: openai.AsyncOpenAI, kind: str, session: str, question: str) -> Answer:
    headers = {"x-session-id": session}
    if kind == "embeddings":
        return await _embed(client, session, question, headers)
    if kind == "stream":
        return await _stream(client, session, question, headers)
    return await _chat(client, kind, session, question, headers)


async def _chat(
    client: openai.AsyncOpenAI, kind: str, session: str, question: str, headers: dict[str, str]
) -> Answer:
    started = time.monotonic()
    extra: dict[str, Any] = {}
    if kind == "tools":
        extra = {"tools": _TOOLS, "tool_choice": "required"}
    raw = await client.chat.completions.with_raw_response.create(
        model=CHAT_MODEL,
        messages=[{"role": "user", "content": question}],
        extra_headers=headers,
        **extra,
    )
    completion = raw.parse()
    ended = time.monotonic()
    message = completion.choices[0].message
    if kind == "tools":
        calls = message.tool_calls or []
        if not calls or calls[0].type != "function" or calls[0].function.name != "find_order":
            raise WrongAnswerError(f"no call of the tool: {message}")
    elif not message.content:
        raise WrongAnswerError("the answer is empty")
    usage = completion.usage
    return _answered(
        Answer(kind, session, started, ended, ended),
        raw.headers,
        usage.prompt_tokens if usage else 0,
        usage.completion_tokens if usage else 0,
    )


async def _stream(
    client: openai.AsyncOpenAI, session: str, question: str, headers: dict[str, str]
) -> Answer:
    started = time.monotonic()
    raw = await client.chat.completions.with_raw_response.create(
        model=CHAT_MODEL,
        messages=[{"role": "user", "content": question}],
        stream=True,
        stream_options={"include_usage": True},
        extra_headers=headers,
    )
    first, text, finish, prompt, completion = 0.0, "", None, 0, 0
    try:
        async for chunk in raw.parse():
            first = first or time.monotonic()
            for choice in chunk.choices:
                text += choice.delta.content or ""
                finish = choice.finish_reason or finish
            if chunk.usage is not None:
                prompt, completion = chunk.usage.prompt_tokens, chunk.usage.completion_tokens
    except Exception as error:  # of the client, or of the HTTP library below it
        raise StreamCutError(f"{type(error).__name__}: {error}") from error
    if finish is None:
        raise StreamCutError("the stream ended without a finish_reason")
    if not text:
        raise WrongAnswerError("the streamed answer is empty")
    answer = Answer("stream", session, started, time.monotonic(), first)
    return _answered(answer, raw.headers, prompt, completion)


async def _embed(
    client: openai.AsyncOpenAI, session: str, question: str, headers: dict[str, str]
) -> Answer:
    started = time.monotonic()
    raw = await client.embeddings.with_raw_response.create(
        model=SEARCH_MODEL, input=[question], extra_headers=headers
    )
    response = raw.parse()
    ended = time.monotonic()
    if not response.data or not response.data[0].embedding:
        raise WrongAnswerError("the embedding is empty")
    answer = Answer("embeddings", session, started, ended, ended)
    return _answered(answer, raw.headers, response.usage.prompt_tokens, 0)


def _answered(answer: Answer, headers: Mapping[str, str], prompt: int, completion: int) -> Answer:
    return replace(
        answer,
        route=headers.get("x-mr-route", ""),
        pool=headers.get("x-mr-pool", ""),
        reason=headers.get("x-mr-reason", ""),
        attempts=int(headers.get("x-mr-attempts") or 1),
        prompt_tokens=prompt,
        completion_tokens=completion,
    )
