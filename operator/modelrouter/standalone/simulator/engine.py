"""The simulated engine: who runs, who waits, and when each token is due."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

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
        self.rejecting = False
        """Draining: runs go on to their end, new requests are aborted at once."""
        self._dead = False

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

    def die(self) -> None:
        """Produce no more tokens, ever; whoever waits for one waits until its client leaves."""
        self._dead = True

    async def start(
        self, prompts: list[Prompt], answer_tokens: int, *, first_token_s: float, per_token_s: float
    ) -> Run:
        """Admit a request, waiting for room, and fix when its tokens are due."""
        now = asyncio.get_running_loop().time
        tokens = sum(prompt.tokens for prompt in prompts)
        blocks = -(-(tokens + answer_tokens) // self._settings.block_size)
        run = Run(tokens, blocks, arrived=now())
        await self._admit(blocks)
        admitted = now()
        metrics = self.metrics
        metrics.queue.observe(admitted - run.arrived)
        metrics.prompt_tokens += tokens
        if self._cache is not None:
            for prompt in prompts:
                run.cached_tokens += min(self._cache.take(prompt.data), prompt.tokens)
            metrics.prefix_queries += tokens
            metrics.prefix_hits += run.cached_tokens
        uncached = tokens - run.cached_tokens
        share = uncached / tokens if tokens else 1.0
        fixed = _CACHED_FIRST_TOKEN_SHARE
        run.first_due = (
            admitted
            + first_token_s * (fixed + (1 - fixed) * share)
            + self._settings.prefill_ms_per_1k_tokens * uncached / 1_000_000
        )
        run.per_token_s = per_token_s
        return run

    async def wait(self, due: float) -> None:
        """Return at this event loop time; never, once the engine is dead."""
        delay = due - asyncio.get_running_loop().time()
        if delay > 0:
            await asyncio.sleep(delay)
        if self._dead:
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
            if turn.done() and not turn.cancelled():
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


async def never() -> None:
    """Wait until cancelled."""
    await asyncio.get_running_loop().create_future()
