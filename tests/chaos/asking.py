"""Clients that ask at a fixed rate, whatever happens, and check every token of every answer."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Sequence
from itertools import cycle
from types import TracebackType
from typing import Self

import aiohttp
import openai
import uvloop

from chaos.answers import ErrorEvent, Question, StreamCheck, Wrong, check_end, check_whole
from chaos.samples import Outcome, Sample

SILENCE_SECONDS = 40.0
"""After so long without a byte a request hangs. Above all limits of the route."""
STREAM_TOKENS = (10, 30, 60, 200)
WHOLE_TOKENS = (5, 20)
"""Lengths of answers, of which each request draws one."""
OFFICIAL_EVERY = 15
"""Requests of which one is asked by OpenAI's client, which costs more than all the others'."""
_CONNECTS = 12
_RECONNECT_SECONDS = 0.3
_TICK_SECONDS = 0.005


class Asking:
    """Requests at a rate for as long as the context lasts, from a thread of its own.

    `stream_models`: of the streams, in turns. `guarded`: the model whose broken streams are to end
    in an error event.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        stream_models: Sequence[str] = (),
        guarded: str = "",
        rate: float,
        seed: int = 0,
        stream_tokens: Sequence[int] = STREAM_TOKENS,
        whole_tokens: Sequence[int] = WHOLE_TOKENS,
    ) -> None:
        self._base_url, self._model, self._rate = base_url, model, rate
        self._stream_models = cycle(stream_models or (model,))
        self._guarded = guarded
        self._stream_tokens, self._whole_tokens = stream_tokens, whole_tokens
        self._dice = random.Random(f"questions {seed}")
        self._prefix = f"chaos-{seed}-{int(time.time())}"
        self.samples: list[Sample] = []
        """Of requests that have ended, in that order."""
        self.under_way: dict[str, Sample] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="asking", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(3 * SILENCE_SECONDS)
        if self._thread.is_alive():
            raise TimeoutError("the clients do not end")

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._ask_until_stopped())

    async def _ask_until_stopped(self) -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_read=SILENCE_SECONDS, sock_connect=5)
        connector = aiohttp.TCPConnector(limit=0)
        official = openai.AsyncOpenAI(
            base_url=self._base_url, api_key="unused", max_retries=0, timeout=SILENCE_SECONDS
        )
        tasks: set[asyncio.Task[None]] = set()
        began, number = time.monotonic(), 0
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session, official:
            while not self._stop.is_set():
                while number < (time.monotonic() - began) * self._rate:
                    number += 1
                    streamed = number % 2 == 0
                    tokens = self._dice.choice(
                        self._stream_tokens if streamed else self._whole_tokens
                    )
                    model = next(self._stream_models) if streamed else self._model
                    question = Question(number, model, tokens, streamed)
                    uses_official = number % OFFICIAL_EVERY == 0
                    task = asyncio.create_task(
                        self._ask(question, official if uses_official else session)
                    )
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                await asyncio.sleep(_TICK_SECONDS)
            if tasks:
                await asyncio.wait(tasks, timeout=2 * SILENCE_SECONDS)
            for task in tasks:
                task.cancel()
        for sample in list(self.under_way.values()):
            sample.outcome, sample.problem = Outcome.HUNG, "it has not ended at the end of the run"
            self._ended(sample)

    async def _ask(
        self, question: Question, client: aiohttp.ClientSession | openai.AsyncOpenAI
    ) -> None:
        sample = Sample(f"{self._prefix}-{question.number}", question.streamed, time.time())
        sample.guarded = question.streamed and question.model == self._guarded
        self.under_way[sample.id] = sample
        if isinstance(client, openai.AsyncOpenAI):
            sample.official = True
            await _ask_officially(client, question, sample)
        else:
            await _ask_plainly(client, f"{self._base_url}/chat/completions", question, sample)
        self._ended(sample)

    def _ended(self, sample: Sample) -> None:
        sample.ended = time.time()
        self.under_way.pop(sample.id, None)
        self.samples.append(sample)


async def _ask_plainly(
    session: aiohttp.ClientSession, url: str, question: Question, sample: Sample
) -> None:
    headers = {"x-request-id": sample.id}
    while True:
        try:
            async with session.post(url, json=question.body, headers=headers) as answer:
                await _read(answer, question, sample)
                return
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            # Nobody has seen the request.
            sample.reconnects += 1
            sample.problem = str(error)
            if sample.reconnects == _CONNECTS:
                return
        except aiohttp.ServerTimeoutError as error:
            sample.outcome, sample.problem = Outcome.HUNG, repr(error)
            return
        except (aiohttp.ClientError, ConnectionError) as error:
            if sample.outcome is not Outcome.BROKEN:
                sample.outcome = Outcome.LOST
            sample.problem = repr(error)
            return
        except ErrorEvent as error:
            sample.outcome, sample.problem = Outcome.ERROR_EVENT, str(error)
            return
        except Wrong as error:
            sample.outcome, sample.problem = Outcome.WRONG, str(error)
            return
        await asyncio.sleep(_RECONNECT_SECONDS)


async def _read(answer: aiohttp.ClientResponse, question: Question, sample: Sample) -> None:
    sample.pool = answer.headers.get("x-mr-pool", "")
    sample.attempts = answer.headers.get("x-mr-attempts", "")
    if answer.status != 200:
        said = await answer.text()
        sample.outcome, sample.problem = Outcome.REFUSED, f"{answer.status} {said[:200]}"
        return
    sample.outcome = Outcome.BROKEN  # until it is whole
    if not question.streamed:
        check_whole(question, await answer.read())
        sample.first = time.time()
        sample.tokens = question.tokens
    else:
        check, last = StreamCheck(question), 0.0
        async for data in answer.content.iter_any():
            check.feed(data)
            if check.tokens > sample.tokens:
                now = time.time()
                if sample.first:
                    sample.silence = max(sample.silence, now - last)
                else:
                    sample.first = now
                last, sample.tokens = now, check.tokens
        check.end()
    sample.outcome, sample.problem = Outcome.RIGHT, ""


async def _ask_officially(client: openai.AsyncOpenAI, question: Question, sample: Sample) -> None:
    while True:
        try:
            await _use(client, question, sample)
        except openai.APIStatusError as error:
            sample.outcome, sample.problem = Outcome.REFUSED, str(error)[:200]
        except openai.APITimeoutError as error:
            sample.outcome, sample.problem = Outcome.HUNG, repr(error)
        except openai.APIConnectionError as error:
            sample.problem = repr(error.__cause__)
            # By its name: the client has an HTTP library of its own, not the same in all versions.
            refused = type(error.__cause__).__name__ == "ConnectError"
            if refused and sample.reconnects < _CONNECTS:
                sample.reconnects += 1
                await asyncio.sleep(_RECONNECT_SECONDS)
                continue
        except openai.APIError as error:
            sample.outcome, sample.problem = Outcome.ERROR_EVENT, str(error)[:200]
        except Wrong as error:
            sample.outcome, sample.problem = Outcome.WRONG, str(error)
        return


async def _use(client: openai.AsyncOpenAI, question: Question, sample: Sample) -> None:
    answer = await client.chat.completions.with_raw_response.create(
        model=question.model,
        messages=question.messages,  # type: ignore[arg-type]
        max_tokens=question.tokens,
        stream=question.streamed,
        extra_body={"ignore_eos": True},
        extra_headers={"x-request-id": sample.id},
    )
    sample.pool = answer.headers.get("x-mr-pool", "")
    sample.outcome = Outcome.BROKEN
    parsed = answer.parse()
    if not isinstance(parsed, openai.AsyncStream):
        whole = parsed.choices[0]
        check_end(question, whole.message.content or "", whole.finish_reason)
        sample.first, sample.tokens = time.time(), question.tokens
    else:
        check, reason = StreamCheck(question), None
        async for chunk in parsed:
            for choice in chunk.choices:
                if choice.delta.content:
                    check.take_piece(choice.delta.content)
                    sample.tokens = check.tokens
                    sample.first = sample.first or time.time()
                reason = choice.finish_reason or reason
        if reason != "length" or check.tokens != len(question.pieces):
            raise Wrong(f"it ends cleanly after {check.tokens} tokens, finish_reason {reason!r}")
    sample.outcome, sample.problem = Outcome.RIGHT, ""
