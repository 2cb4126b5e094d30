"""The proxy in which requests wait: one connection from Envoy, one request, one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, closing
from typing import Any

import structlog

from modelrouter.policy.refusal import Refusal, too_many_wait, waited_too_long
from modelrouter.router.holding.answering import (
    BROKEN,
    Answering,
    GuardedAnswering,
    StreamAnswering,
)
from modelrouter.router.holding.asking import Request, ask
from modelrouter.router.holding.messages import BrokenOffError, Message
from modelrouter.router.holding.outcomes import Outcome, Outcomes
from modelrouter.router.holding.room import DismissedError, FullError, Place, WaitingRoom
from modelrouter.router.holding.tickets import AGAIN_HEADER, HOLD_HEADER, Service, read_ticket

log = structlog.get_logger(__name__)

KEEP_ALIVE_SECONDS = 10.0
"""Proxies and clients that take silence for death wait for 30 s or more."""

AGAIN_SECONDS = 0.25
"""Until a request that may not go on yet is sent again."""

_ENDING = Refusal(
    503,
    "The router that this request waited in is ending. Please try again.",
    type="server_error",
    code="router_ending",
    retry_after=1,
)
_BROKEN_OFF = Refusal(
    503,
    "The request could not go on after it had waited. Please try again.",
    type="server_error",
    code="upstream_unreachable",
    retry_after=1,
)


class HoldingServer:
    """Listens on a Unix socket for the requests that decisions send here."""

    def __init__(
        self,
        path: str,
        again: str,
        room: WaitingRoom,
        outcomes: Outcomes,
        refused: Callable[[str], None],
        keep_alive_seconds: float = KEEP_ALIVE_SECONDS,
    ) -> None:
        """`path` is the socket to listen on, `again` Envoy's, and `refused` is told the code of
        every error that is answered here."""
        self._path = path
        self._again = again
        self._room = room
        self._outcomes = outcomes
        self._refused = refused
        self._keep_alive = keep_alive_seconds
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Open the socket; an old one in the same place is replaced."""
        self._server = await asyncio.start_unix_server(self._serve, self._path, backlog=1024)

    async def stop(self) -> None:
        """Close the socket and all connections."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._answer(reader, writer)
            writer.close()
        except (BrokenOffError, ConnectionError):
            # So that an answer that is not whole never looks whole.
            writer.transport.abort()
        except Exception:
            # The request's content stays out of the log: it may be confidential.
            log.exception("a request that waited could not be answered")
            writer.transport.abort()
        finally:
            self._writers.discard(writer)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = Message(reader)
        await request.read_head()
        ticket = read_ticket(request.header(HOLD_HEADER.encode()))
        outcome = self._outcomes.expect(request.header(b"x-request-id"), ticket.pool)
        if ticket.service is Service.GUARD:
            work = self._guard(await _read(request), GuardedAnswering(writer), outcome)
            return await _unless_gone(reader, work)
        try:
            with self._room.enter(ticket.pool) as place:
                whole = await _read(request, place)
                if ticket.service is Service.WAIT_IN_STREAM:
                    answering: Answering = StreamAnswering(writer, ticket.pool)
                else:
                    answering = Answering(writer)
                work = self._work(whole, place, answering, outcome)
                del whole
                await _unless_gone(reader, work)
        except FullError:
            async for _ in request.body():
                pass  # Envoy would not read an answer to half a request
            refusal = too_many_wait()
            self._note(refusal, outcome)
            await Answering(writer).refuse(refusal)

    async def _guard(self, request: Request, answering: Answering, outcome: Outcome) -> None:
        """Send the request on at once, and pass its answer on."""
        try:
            asked = await ask(self._again, request)
        except BrokenOffError:
            self._note(_BROKEN_OFF, outcome)
            return await answering.refuse(_BROKEN_OFF)
        with closing(asked):
            await self._pass_on(asked.answer, answering, outcome)

    async def _pass_on(self, answer: Message, answering: Answering, outcome: Outcome) -> None:
        outcome.pool = answer.header(b"x-mr-pool") or outcome.pool
        outcome.status = answer.status
        outcome.attempts = int(answer.header(b"x-mr-attempts") or 1)
        if code := answer.header(AGAIN_HEADER.encode()):
            self._refused(code)
        if not await answering.pass_on(answer):
            self._note(BROKEN, outcome)

    async def _work(
        self, request: Request, place: Place, answering: Answering, outcome: Outcome
    ) -> None:
        await answering.begin()
        with ExitStack() as connections:
            going_on = asyncio.create_task(self._go_on(request, place, connections))
            del request  # so that its memory is free as soon as it is answered
            connections.callback(going_on.cancel)
            try:
                while not (await asyncio.wait({going_on}, timeout=self._keep_alive))[0]:
                    await answering.keep_alive()
                answer = await going_on
            except TimeoutError:
                return await self._give_up(waited_too_long(), "timeout", place, answering, outcome)
            except DismissedError:
                return await self._give_up(_ENDING, "ended", place, answering, outcome)
            except BrokenOffError:
                return await self._give_up(_BROKEN_OFF, "failed", place, answering, outcome)
            place.end("served")
            outcome.first_byte_ms = place.waited_ms
            await self._pass_on(answer, answering, outcome)

    async def _go_on(self, request: Request, place: Place, connections: ExitStack) -> Message:
        """Wait for the pool, send the request to it and return its answer.

        The answer comes on a connection that `connections` ends. Raises `TimeoutError`,
        `DismissedError` or `BrokenOffError`.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + place.patience_seconds
        while True:
            async with asyncio.timeout_at(deadline):
                await self._room.until_ready(place.pool)
            place.leave()
            asked = await ask(self._again, request)
            connections.callback(asked.close)
            if not asked.answer.header(AGAIN_HEADER.encode()):
                return asked.answer
            asked.close()
            place.take()
            if loop.time() + AGAIN_SECONDS > deadline:
                raise TimeoutError
            await asyncio.sleep(AGAIN_SECONDS)

    async def _give_up(
        self, refusal: Refusal, result: str, place: Place, answering: Answering, outcome: Outcome
    ) -> None:
        place.end(result)
        self._note(refusal, outcome)
        await answering.refuse(refusal)

    def _note(self, refusal: Refusal, outcome: Outcome) -> None:
        outcome.status = refusal.status
        self._refused(refusal.code or str(refusal.status))


async def _read(request: Message, place: Place | None = None) -> Request:
    """The whole request, kept at its place if it waits. Raises `FullError` or `BrokenOffError`."""
    body = []
    async for part in request.body():
        if place is not None:
            place.hold(len(part))
        body.append(part)
    headers = request.end_to_end(b"content-length", HOLD_HEADER.encode())
    return Request(request.method, request.target, tuple(headers), tuple(body))


async def _unless_gone(reader: asyncio.StreamReader, work: Coroutine[Any, Any, None]) -> None:
    """Do the work, or give it up when the client leaves, by `BrokenOffError`."""
    tasks = asyncio.create_task(work), asyncio.create_task(reader.read(1))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not tasks[0].done():
            raise BrokenOffError
        tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
