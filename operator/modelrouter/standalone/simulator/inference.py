"""The path that every generating request takes: faults, limits, the engine, the answer."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from modelrouter.standalone.simulator.engine import Run, never
from modelrouter.standalone.simulator.errors import ApiError, DrainingError, EngineDeadError
from modelrouter.standalone.simulator.faults import Treatment
from modelrouter.standalone.simulator.generation import Answer, Limits
from modelrouter.standalone.simulator.prompts import Prompt
from modelrouter.standalone.simulator.sabotage import hang_up, reset, reset_mid_headers
from modelrouter.standalone.simulator.server import Server, json_response
from modelrouter.standalone.simulator.streaming import (
    EventFormat,
    end_with_error,
    open_stream,
    send_error,
    send_stream,
    usage_fields,
)


@dataclass(frozen=True, slots=True)
class Inference:
    """One generating request, understood and ready to run."""

    prompts: list[Prompt]
    answers: list[Answer]
    stream: bool
    spelling: EventFormat
    whole: Callable[[list[Answer], dict[str, Any]], dict[str, Any]]
    """Makes the JSON of an answer that is not streamed, from the choices and the usage."""


async def strike(
    server: Server, request: web.Request, treatment: Treatment, *, stream: bool
) -> web.StreamResponse | None:
    """Do to the connection what the fault plan says; none if the request may go on.

    Raises:
        ApiError: The plan wants this answer, or the engine is dead already or draining.
    """
    if server.engine.death.is_set():
        raise EngineDeadError
    if server.engine.draining:
        raise DrainingError
    match treatment.mode:
        case "fail":
            plan = treatment.plan
            raise ApiError(plan.fail_status, "simulated failure", retry_after_s=plan.retry_after)
        case "hang":
            await never()
        case "reset":
            return reset(request)
        case "reset_mid_headers":
            return await reset_mid_headers(request)
        case "stream_error" | "engine_death":
            if stream and treatment.plan.after_tokens:
                return None
            if treatment.mode == "engine_death":
                server.engine.fail()
            if stream:
                return await send_error(request, EngineDeadError())
            raise EngineDeadError
    return None


async def run_inference(
    server: Server, request: web.Request, inference: Inference, treatment: Treatment
) -> web.StreamResponse:
    """Generate and send the answer."""
    engine = server.engine
    answers = inference.answers
    if not inference.stream:
        run = await _generate(server, inference, answers, treatment, None)
        details = server.settings.prompt_tokens_details
        usage = usage_fields(run, run.generated, details=details)
        body = inference.whole(answers, usage)
        if treatment.mode in ("cut_stream", "stall_stream"):
            return await _send_half(request, body, treatment)
        return json_response(body)
    response = await open_stream(request)
    try:
        await _generate(
            server,
            inference,
            answers,
            treatment,
            lambda run: send_stream(
                request, response, answers, run, engine, inference.spelling, treatment
            ),
        )
    except EngineDeadError as error:
        await end_with_error(response, error)
    return response


async def _generate(
    server: Server,
    inference: Inference,
    answers: list[Answer],
    treatment: Treatment,
    send: Callable[[Run], Awaitable[None]] | None,
) -> Run:
    """Take the request through the engine; without `send`, wait until the answer is whole."""
    engine = server.engine
    tokens = sum(answer.tokens for answer in answers)
    run = await engine.start(
        inference.prompts,
        tokens,
        first_token_s=treatment.first_token_s,
        per_token_s=treatment.per_token_s,
    )
    reason = "abort"
    try:
        if send is not None:
            await send(run)
        else:
            longest = max(answer.tokens for answer in answers)
            await engine.wait(run.due(max(0, longest - 1)))
            engine.steps(run, tokens)
        # vLLM's metric has no reason of its own for tool calls.
        first = answers[0].finish_reason
        reason = "stop" if first == "tool_calls" else first
    except EngineDeadError:
        reason = "error"
        raise
    finally:
        engine.finish(run, reason)
    if len(inference.prompts) == 1:
        for answer in answers:
            if answer.tool is None:
                engine.remember(inference.prompts[0], answer.text)
    return run


async def _send_half(
    request: web.Request, value: dict[str, Any], treatment: Treatment
) -> web.StreamResponse:
    """The beginning of an answer whose head has promised all of it."""
    body = orjson.dumps(value)
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if treatment.mode == "stall_stream":
        await never()
    hang_up(request)
    return response


def limits_of(server: Server, body: dict[str, Any], prompt: Prompt) -> Limits:
    """How long the answer may be; an error if the prompt leaves no room for it."""
    window = server.settings.max_model_len
    name = "max_tokens"
    if body.get("max_completion_tokens") is not None:
        name = "max_completion_tokens"
    asked = _count(body, name, window)
    if asked > window:
        raise ApiError(
            400,
            f"{name}={asked} cannot be greater than max_model_len={window}. Please request fewer "
            f"output tokens. (parameter={name}, value={asked})",
            param=name,
        )
    if prompt.tokens > window:
        # vLLM stops counting here.
        counted = window + 1
        raise ApiError(
            400,
            f"This model's maximum context length is {window} tokens. However, your prompt "
            f"contains at least {counted} input tokens, which exceeds this limit even without any "
            "output tokens. Please reduce the length of the input prompt. "
            f"(parameter=input_tokens, value={counted})",
            param="input_tokens",
        )
    # A window that leaves less than was asked for cuts the answer.
    asked = min(asked, window - prompt.tokens)
    if asked < 1:
        raise ApiError(
            400,
            f"max_tokens must be at least 1, got {asked}. (parameter=max_tokens, value={asked})",
            param="max_tokens",
        )
    stop = body.get("stop")
    stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
    wanted = server.settings.tokens
    # An answer that never ends by itself always wants one token more than it gets.
    wanted = asked + 1 if body.get("ignore_eos") else max(wanted, _count(body, "min_tokens", 0))
    return Limits(wanted, asked, stops)


def choices_of(body: dict[str, Any]) -> int:
    """How many answers the request asks for, per prompt."""
    count = _count(body, "n", 1)
    if count < 1:
        raise ApiError(400, f"n must be at least 1, got {count}.")
    return count


def streaming_of(body: dict[str, Any]) -> tuple[bool, dict[str, Any]]:
    """Whether to stream, and the stream's options."""
    stream = bool(body.get("stream"))
    options = body.get("stream_options")
    if options and not stream:
        raise ApiError(
            400,
            "Stream options can only be defined when `stream=True`. (parameter=stream_options)",
            param="stream_options",
        )
    return stream, options if isinstance(options, dict) else {}


def answer_id(request: web.Request, prefix: str) -> str:
    """The answer's id; it carries the request's own id if that was given."""
    return f"{prefix}-{request.headers.get('X-Request-Id') or os.urandom(16).hex()}"


def _count(body: dict[str, Any], name: str, default: int) -> int:
    """A number that the validation has found to be one."""
    value = body.get(name)
    return default if value is None else int(value)
