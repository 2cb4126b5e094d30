"""Answers as server-sent events, one per token and each at its time."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import orjson
from aiohttp import web

from modelrouter.standalone.simulator.engine import Engine, Run, never
from modelrouter.standalone.simulator.errors import ApiError, EngineDeadError
from modelrouter.standalone.simulator.faults import Treatment
from modelrouter.standalone.simulator.generation import Answer
from modelrouter.standalone.simulator.sabotage import hang_up

DONE = b"data: [DONE]\n\n"


class EventFormat(Protocol):
    """How one endpoint spells the events of its stream."""

    def opening(self, choice: int, answer: Answer) -> list[bytes]:
        """Events before the first piece."""

    def piece(self, choice: int, text: str, generated: int) -> bytes:
        """One piece of text; `generated` counts the tokens of all choices so far."""

    def closing(self, choice: int, answer: Answer, generated: int) -> bytes:
        """The event that carries the finish reason."""

    def usage(self, run: Run) -> bytes | None:
        """The event with the usage, if the request asked for one."""


def event(value: object) -> bytes:
    """One event with JSON data."""
    return b"data: " + orjson.dumps(value) + b"\n\n"


async def open_stream(request: web.Request) -> web.StreamResponse:
    """The head of a stream; as with vLLM it is sent before the first token exists."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    return response


async def send_error(request: web.Request, error: ApiError) -> web.StreamResponse:
    """Status 200, then the error as an event: how a dying engine looks to a streaming client."""
    response = await open_stream(request)
    await end_with_error(response, error)
    return response


async def end_with_error(response: web.StreamResponse, error: ApiError) -> None:
    """End a stream, wherever it is, with the error as an event."""
    await response.write(event(error.payload()))
    await response.write(DONE)
    await response.write_eof()


async def send_stream(
    request: web.Request,
    response: web.StreamResponse,
    answers: list[Answer],
    run: Run,
    engine: Engine,
    spelling: EventFormat,
    treatment: Treatment,
) -> None:
    """Send all choices side by side, a token of each at a time.

    Raises:
        EngineDeadError: The engine failed; the stream is not ended yet.
    """
    longest = max(len(answer.pieces) for answer in answers)
    cut = treatment.cut_after(longest)
    await engine.wait(run.first_due)
    for choice, answer in enumerate(answers):
        for opening in spelling.opening(choice, answer):
            await response.write(opening)
    for index in range(longest):
        if cut == index:
            await _break_off(request, engine, treatment)
            return
        if index:
            await engine.wait(run.due(index))
            if run.per_token_s == 0:
                # Without a pause between tokens, other streams still get their turn and each
                # event is handed to the kernel by itself.
                await asyncio.sleep(0)
        going = [
            (choice, answer.pieces[index])
            for choice, answer in enumerate(answers)
            if index < len(answer.pieces)
        ]
        engine.step(run, len(going))
        for choice, text in going:
            await response.write(spelling.piece(choice, text, run.generated))
    if cut is not None:
        await _break_off(request, engine, treatment)
        return
    for choice, answer in enumerate(answers):
        await response.write(spelling.closing(choice, answer, run.generated))
    usage = spelling.usage(run)
    if usage is not None:
        await response.write(usage)
    await response.write(DONE)
    await response.write_eof()


async def _break_off(request: web.Request, engine: Engine, treatment: Treatment) -> None:
    match treatment.mode:
        case "stall_stream":
            await never()
        case "stream_error":
            raise EngineDeadError
        case "engine_death":
            engine.fail()
            raise EngineDeadError
    hang_up(request)


def usage_fields(run: Run, generated: int, *, details: bool) -> dict[str, Any]:
    """The `usage` object."""
    return {
        "prompt_tokens": run.prompt_tokens,
        "total_tokens": run.prompt_tokens + generated,
        "completion_tokens": generated,
        "prompt_tokens_details": {"cached_tokens": run.cached_tokens} if details else None,
    }
