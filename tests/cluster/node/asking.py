"""Clients that ask many models at once, each at a rate of its own, and remember every answer."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

_AT_ONCE = 60
"""Of one model: a machine that cannot keep up is not asked for more."""
_TIMEOUT = aiohttp.ClientTimeout(total=30)
_BURST_CONNECTIONS = 24


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client saw of one request. `sent` is in seconds since 1970."""

    sent: float
    pool: str
    reason: str
    problem: str
    """Why it is no good answer; empty: it is whole."""


@dataclass(slots=True)
class Asked:
    """One model, and what its callers saw."""

    model: str
    scores: Mapping[str, float] = field(default_factory=dict)
    """Feedback by the pool that answered."""
    answers: list[Answer] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    @property
    def failures(self) -> list[str]:
        """What was wrong with answers that were no good."""
        return [answer.problem for answer in list(self.answers) if answer.problem]

    def pools(self) -> Counter[str]:
        """How many good answers each pool gave."""
        return Counter(answer.pool for answer in list(self.answers) if not answer.problem)


class Callers:
    """Asks from a thread of its own until the context ends. Three of four answers are
    streams."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._loop = asyncio.new_event_loop()
        self._dice = random.Random("scores")
        self.asked: dict[str, Asked] = {}

    def begin(self, model: str, rate: float, scores: Mapping[str, float] | None = None) -> Asked:
        """Ask for a model so often a second, over a new connection each time."""
        asked = self.asked.setdefault(model, Asked(model, scores or {}))

        async def start() -> None:
            asked.task = asyncio.create_task(self._keep_asking(asked, rate))

        self._do(start())
        return asked

    def end(self, *models: str) -> None:
        """Ask for these models no more, and wait for what is under way."""

        async def stop() -> None:
            tasks = [task for model in models if (task := self.asked[model].task)]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self._do(stop())

    def burst(self, model: str, count: int) -> Asked:
        """Ask so often, as fast as it goes. The ids of the requests, by which routers choose, are
        the same each time."""
        asked = Asked(model)

        async def ask(session: aiohttp.ClientSession, numbers: Iterator[int]) -> None:
            for number in numbers:
                await self._ask(session, asked, False, f"{model}-{number}")

        async def all_of_them() -> None:
            numbers = iter(range(count))
            connector = aiohttp.TCPConnector(limit=_BURST_CONNECTIONS)
            async with aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT) as session:
                await asyncio.gather(*(ask(session, numbers) for _ in range(_BURST_CONNECTIONS)))

        self._do(all_of_them())
        return asked

    def run(self) -> None:
        """What the thread does."""
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    def close(self) -> None:
        """End everything."""
        self.end(*self.asked)
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(300)

    async def _keep_asking(self, asked: Asked, rate: float) -> None:
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        tasks: set[asyncio.Task[None]] = set()
        began, number = time.monotonic(), 0
        async with aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT) as session:
            try:
                while True:
                    number += 1
                    if len(tasks) < _AT_ONCE:
                        task = asyncio.create_task(self._ask(session, asked, number % 4 != 0))
                        tasks.add(task)
                        task.add_done_callback(tasks.discard)
                    await asyncio.sleep(max(began + number / rate - time.monotonic(), 0))
            finally:
                if tasks:
                    await asyncio.wait(tasks)

    async def _ask(
        self, session: aiohttp.ClientSession, asked: Asked, streamed: bool, id_: str = ""
    ) -> None:
        body: dict[str, Any] = {
            "model": asked.model,
            "messages": [{"role": "user", "content": "What is the refund policy?"}],
            "max_tokens": 4,
            "stream": streamed,
        }
        if streamed:
            body["stream_options"] = {"include_usage": True}  # Without it nobody knows its cost.
        headers = {"x-request-id": id_} if id_ else {}
        sent, pool, reason, known = time.time(), "", "", ""
        try:
            url = f"{self._base_url}/chat/completions"
            async with session.post(url, json=body, headers=headers) as answer:
                pool = answer.headers.get("x-mr-pool", "")
                reason = answer.headers.get("x-mr-reason", "")
                known = answer.headers.get("x-request-id", "")
                problem = _problem(answer.status, streamed, await answer.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            problem = repr(error)
        asked.answers.append(Answer(sent, pool, reason, problem))
        if not problem and pool in asked.scores:
            score = min(max(asked.scores[pool] + self._dice.uniform(-0.1, 0.1), 0), 1)
            feedback = {"request_id": known, "score": score}
            async with session.post(f"{self._base_url}/feedback", json=feedback) as taken:
                if taken.status not in (200, 202):
                    text = f"feedback: {taken.status} {await taken.text()}"
                    asked.answers.append(Answer(sent, pool, reason, text))


@contextmanager
def calling(base_url: str) -> Iterator[Callers]:
    """Callers of a router."""
    callers = Callers(base_url)
    thread = threading.Thread(target=callers.run, name="callers", daemon=True)
    thread.start()
    try:
        yield callers
    finally:
        callers.close()
        thread.join(60)


def _problem(status: int, streamed: bool, body: bytes) -> str:
    if status != 200:
        return f"{status} {body[:200]!r}"
    if streamed and not body.endswith(b"data: [DONE]\n\n"):
        return f"a stream that was cut off: {body[-100:]!r}"
    if not streamed and b'"finish_reason":' not in body.replace(b" ", b""):
        return f"no answer: {body[:100]!r}"
    return ""
