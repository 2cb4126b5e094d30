"""The simulated engine: who runs, who waits, and when each token is due."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

from modelrouter.standalone.simulator.errors import EngineDeadError
from modelrouter.standalone.simulator.metrics import Metrics
from modelrouter.standalone.simulator.prefix_cache import PrefixCache
from modelrouter.standalone.simulator.prompts import Prompt
from modelrouter.standalone.simulator.settings import SimulatorSettings

_CACHED_FIRST_TOKEN_SHARE = 0.2
"""Share of the first token's time that remains when all of the prompt is cached."""


@dataclass(slots=True)
class Run:
    """One request in the engine, from its arrival to its end."""

    prompt_tokens: int
    blocks: int
    arrived: float
    """Event loop time of arrival, in seconds; the base of all latencies."""

    first_due: float = 0.0
    """Event loop time at which the first token is due."""

    per_token_s: float = 0.0
    cached_tokens: int = 0
    generated: int = 0
    """Tokens that were handed out, over all choices."""

    last_token: float = 0.0

    def due(self, index: int) -> float:
        """Event loop time at which token number `index` (from 0) is due."""
        return self.first_due + index * self.per_token_s


class Engine:
    """Admission in order of arrival, bounded by sequences and by cache blocks."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self.metrics = Metrics(settings.served_names[0], self)
        self._cache = (
            PrefixCache(blocks=settings.kv_blocks, block_size=settings.block_size)
            if settings.prefix_caching
            else None
        )
        self._running = 0
        self._used_blocks = 0
        self._queue: deque[tuple[asyncio.Future[None], int]] = deque()
        self.draining = False
        """Runs go on to their end, new requests are refused."""
        self._stopped = False
        self._prefill_free = 0.0
        """Event loop time at which the prompts admitted so far have been read."""
        self._alarms: set[asyncio.Future[None]] = set()
        """Of all who wait for a token."""
        self.death = asyncio.Event()
        """Set when the engine has failed."""

    @property
    def running(self) -> int:
        """Requests being generated now."""
        return self._running

    @property
    def waiting(self) -> int:
        """Requests that wait for a sequence slot or for cache blocks."""
        return len(self._queue)

    @property
    def kv_cache_usage(self) -> float:
        """Share of the cache blocks that running requests hold, 0 to 1."""
        return min(1.0, self._used_blocks / self._settings.kv_blocks)

    def stop(self) -> None:
        """Produce no more tokens, ever; whoever waits for one waits until its client leaves."""
        self._stopped = True

    def fail(self) -> None:
        """Die of an error: whoever waits for a token or for room gets an EngineDeadError."""
        self.death.set()
        for alarm in self._alarms:
            if not alarm.done():
                alarm.set_exception(EngineDeadError())
        while self._queue:
            turn, _ = self._queue.popleft()
            if not turn.done():
                turn.set_exception(EngineDeadError())

    async def start(
        self, prompts: list[Prompt], answer_tokens: int, *, first_token_s: float, per_token_s: float
    ) -> Run:
        """Admit a request, waiting for room, and fix when its tokens are due.

        Raises:
            EngineDeadError: The engine failed, before or meanwhile.
        """
        now = asyncio.get_running_loop().time
        tokens = sum(prompt.tokens for prompt in prompts)
        blocks = -(-(tokens + answer_tokens) // self._settings.block_size)
        run = Run(tokens, blocks, arrived=now())
        if self.death.is_set():
            raise EngineDeadError
        await self._admit(blocks)
        admitted = now()
        metrics = self.metrics
        metrics.queue.observe(admitted - run.arrived)
        metrics.prompt_tokens += tokens
        if self._cache is not None:
            for prompt in prompts:
                found = self._cache.take(prompt.data, _salt(prompt))
                run.cached_tokens += min(found, prompt.tokens)
            metrics.prefix_queries += tokens
            metrics.prefix_hits += run.cached_tokens
        uncached = tokens - run.cached_tokens
        share = uncached / tokens if tokens else 1.0
        fixed = _CACHED_FIRST_TOKEN_SHARE
        prefill_s = self._settings.prefill_ms_per_1k_tokens * uncached / 1_000_000
        self._prefill_free = max(self._prefill_free, admitted) + prefill_s
        run.first_due = self._prefill_free + first_token_s * (fixed + (1 - fixed) * share)
        run.per_token_s = per_token_s
        return run

    def remember(self, prompt: Prompt, answer: str) -> None:
        """Keep an answer's blocks, too: the next turn of a conversation begins with them."""
        if self._cache is not None:
            self._cache.take(prompt.continued(answer), _salt(prompt))

    async def wait(self, due: float) -> None:
        """Return at this event loop time; never, once the engine is stopped.

        Raises:
            EngineDeadError: The engine failed, before or meanwhile.
        """
        loop = asyncio.get_running_loop()
        if due > loop.time() and not self.death.is_set():
            alarm: asyncio.Future[None] = loop.create_future()
            timer = loop.call_at(due, _ring, alarm)
            self._alarms.add(alarm)
            try:
                await alarm
            finally:
                timer.cancel()
                self._alarms.discard(alarm)
        if self.death.is_set():
            raise EngineDeadError
        if self._stopped:
            await never()

    def step(self, run: Run, tokens: int = 1) -> None:
        """Account for tokens that were produced just now, one per choice."""
        now = asyncio.get_running_loop().time()
        if run.generated == 0:
            self.metrics.first_token.observe(now - run.arrived)
        else:
            self.metrics.inter_token.observe(now - run.last_token)
        run.last_token = now
        run.generated += tokens
        self.metrics.generation_tokens += tokens

    def steps(self, run: Run, tokens: int) -> None:
        """Account for a whole answer that was produced up to now, each token when it was due."""
        metrics = self.metrics
        metrics.first_token.observe(max(0.0, run.first_due - run.arrived))
        if tokens > 1:
            metrics.inter_token.observe(run.per_token_s, tokens - 1)
        run.generated += tokens
        metrics.generation_tokens += tokens

    def finish(self, run: Run, reason: str) -> None:
        """End a request: free its room and let the next in. `reason` as in finished_reason."""
        metrics = self.metrics
        metrics.request.observe(asyncio.get_running_loop().time() - run.arrived)
        metrics.finished[reason] = metrics.finished.get(reason, 0) + 1
        self._release(run.blocks)

    async def _admit(self, blocks: int) -> None:
        if not self._queue and self._fits(blocks):
            self._take(blocks)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (turn, blocks)
        self._queue.append(entry)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                # The room was given in the very moment the client left: pass it on.
                self._release(blocks)
            else:
                with suppress(ValueError):  # Another release may have dropped it already.
                    self._queue.remove(entry)
                self._wake()
            raise

    def _fits(self, blocks: int) -> bool:
        if self._running == 0:
            return True  # A request larger than the whole cache must not wait for ever.
        return (
            self._running < self._settings.max_num_seqs
            and self._used_blocks + blocks <= self._settings.kv_blocks
        )

    def _take(self, blocks: int) -> None:
        self._running += 1
        self._used_blocks += blocks

    def _release(self, blocks: int) -> None:
        self._running -= 1
        self._used_blocks -= blocks
        self._wake()

    def _wake(self) -> None:
        while self._queue and self._fits(self._queue[0][1]):
            turn, blocks = self._queue.popleft()
            if not turn.done():
                self._take(blocks)
                turn.set_result(None)


def _salt(prompt: Prompt) -> str:
    return f"{prompt.adapter} {prompt.salt}"


def _ring(alarm: asyncio.Future[None]) -> None:
    if not alarm.done():
        alarm.set_result(None)


async def never() -> None:
    """Wait until cancelled."""
    await asyncio.get_running_loop().create_future()
