"""Comparing the answers of a pair: what is kept of them.

Done in a thread, and for at most a tenth of the time: decisions come first. Pairs that come faster
than that are counted and not compared.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

import structlog

from modelrouter.router.accesslog.record import RequestRecord
from modelrouter.router.mirroring.agreement import AGREES_FROM, agreement
from modelrouter.router.mirroring.pairs import Answered, Pair
from modelrouter.router.mirroring.texts import Answer, Prompt, read_answer, read_prompt

log = structlog.get_logger(__name__)

MOST_QUEUED = 200
"""Pairs that wait to be compared."""
REST = 9
"""Times the time that comparing a pair has taken, before the next one."""


class Outcome(StrEnum):
    """What a pair came to."""

    AGREED = "agreed"
    DISAGREED = "disagreed"
    COPY_FAILED = "copyFailed"
    """Only the copy was answered with an error, or broke off."""
    ORIGINAL_FAILED = "originalFailed"
    BOTH_FAILED = "bothFailed"
    NOT_COMPARABLE = "notComparable"
    """Neither has a text: embeddings."""


class Verdict(StrEnum):
    """What an evaluator says."""

    ORIGINAL = "original"
    COPY = "copy"
    SAME = "same"
    UNCLEAR = "unclear"
    """It gave no answer, or none of those that it was offered."""


@dataclass(frozen=True, slots=True)
class Side:
    """What is kept of an answer."""

    pool: str
    status: int
    characters: int
    latency_ms: float
    first_byte_ms: float | None
    tokens: int | None


@dataclass(frozen=True, slots=True)
class Compared:
    """What is kept of a pair."""

    request_id: str
    at: datetime
    route: str
    prompt: str
    """A hash of the prompt."""
    prompt_characters: int
    original: Side
    copy: Side
    outcome: Outcome
    agreement: float | None
    """0 to 1; None where not both can be read."""
    verdict: Verdict | None = None
    """None: the evaluator was not asked."""


@dataclass(frozen=True, slots=True)
class Texts:
    """What an evaluator gets to see, until it has answered."""

    prompt: Prompt
    original: Answer
    copy: Answer


Evaluate = Callable[[Compared, Texts], Awaitable[Verdict | None]]
"""Asks the evaluator of a route; None if there is none."""


def compare(pair: Pair, at: datetime) -> tuple[Compared, Texts]:
    """What a pair that is whole comes to."""
    assert pair.asked
    assert pair.original
    assert pair.copy
    assert pair.original_record
    assert pair.copy_record
    prompt = read_prompt(pair.asked.body)
    original = _read(pair.original, pair.original_record)
    copy = _read(pair.copy, pair.copy_record)
    score: float | None = None
    if original.failed or copy.failed:
        outcome = Outcome.BOTH_FAILED
        if original.failed != copy.failed:
            outcome = Outcome.COPY_FAILED if copy.failed else Outcome.ORIGINAL_FAILED
    elif not (original.comparable and copy.comparable):
        outcome = Outcome.NOT_COMPARABLE
    else:
        score = agreement(original, copy)
        outcome = Outcome.AGREED if score >= AGREES_FROM else Outcome.DISAGREED
    compared = Compared(
        pair.request_id,
        at,
        pair.asked.route,
        prompt.digest,
        len(prompt.text),
        _side(original, pair.original_record),
        _side(copy, pair.copy_record),
        outcome,
        None if score is None else round(score, 4),
    )
    return compared, Texts(prompt, original, copy)


def _read(answered: Answered, record: RequestRecord) -> Answer:
    answer = read_answer(answered.status, answered.content_type, answered.body)
    broken = not 200 <= record.status < 300
    return Answer(failed=True) if broken and not answer.failed else answer


def _side(answer: Answer, record: RequestRecord) -> Side:
    return Side(
        record.pool,
        record.status,
        len(answer.text),
        record.duration_ms,
        record.first_byte_ms,
        record.completion_tokens,
    )


class Comparer:
    """Compares pairs one after the other."""

    def __init__(self, keep: Callable[[Compared], None], evaluate: Evaluate) -> None:
        self._keep = keep
        self._evaluate = evaluate
        self._queue: deque[Pair] = deque()
        self._arrived = asyncio.Event()
        self._evaluations: set[asyncio.Task[None]] = set()
        self.dropped = 0
        """Pairs that came faster than they could be compared."""

    def offer(self, pair: Pair) -> None:
        """Compare this pair when there is time."""
        if len(self._queue) >= MOST_QUEUED:
            self.dropped += 1
            return
        self._queue.append(pair)
        self._arrived.set()

    async def run(self) -> None:
        """Never ends."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._queue:
                started = time.perf_counter()
                await self._next(self._queue.popleft())
                await asyncio.sleep(REST * (time.perf_counter() - started))

    async def _next(self, pair: Pair) -> None:
        try:
            compared, texts = await asyncio.to_thread(compare, pair, datetime.now(UTC))
        except Exception as error:
            # Without its text, which might quote an answer.
            log.error("a pair could not be compared", error=type(error).__name__)
            return
        assert pair.asked is not None
        if pair.asked.evaluates and compared.agreement is not None and compared.agreement < 1:
            task = asyncio.create_task(self._judge(compared, texts))
            self._evaluations.add(task)
            task.add_done_callback(self._evaluations.discard)
        else:
            self._keep(compared)

    async def _judge(self, compared: Compared, texts: Texts) -> None:
        verdict = await self._evaluate(compared, texts)
        outcome = compared.outcome
        if verdict is Verdict.SAME:
            outcome = Outcome.AGREED
        elif verdict in (Verdict.ORIGINAL, Verdict.COPY):
            outcome = Outcome.DISAGREED
        self._keep(replace(compared, verdict=verdict, outcome=outcome))
