"""`/v1/completions`."""

from __future__ import annotations

import time
from typing import Any

import orjson
from aiohttp import web

from modelrouter.standalone.simulator.engine import Run
from modelrouter.standalone.simulator.generation import (
    Answer,
    Limits,
    fixed_answer,
    source_of,
    structured_text,
    text_answer,
)
from modelrouter.standalone.simulator.inference import (
    Inference,
    answer_id,
    choices_of,
    limits_of,
    run_inference,
    streaming_of,
    strike,
)
from modelrouter.standalone.simulator.prompts import Prompt, addressed, text_prompts
from modelrouter.standalone.simulator.server import Server, json_request
from modelrouter.standalone.simulator.streaming import event, usage_fields
from modelrouter.standalone.simulator.validation import check_completion

_DEFAULT_MAX_TOKENS = 16
"""Tokens of a completion that sets no `max_tokens`: the API's default, which vLLM keeps."""


async def answer_completion(server: Server, request: web.Request, raw: bytes) -> web.StreamResponse:
    """One completion request, of one or several prompts."""
    body = json_request(request, raw)
    treatment = server.faults.next()
    struck = await strike(server, request, treatment, stream=bool(body.get("stream")))
    if struck is not None:
        return struck
    check_completion(body)
    model = server.models.resolve(body.get("model"))
    stream, options = streaming_of(body)
    prompts = addressed(text_prompts(body.get("prompt")), server.models.adapter(model), body)
    answers = [answer for prompt in prompts for answer in _answers(server, body, prompt)]
    head = {
        "id": answer_id(request, "cmpl"),
        "object": "text_completion",
        "created": int(time.time()),
        "model": model,
    }
    label = server.settings.label or None
    inference = Inference(
        prompts,
        answers,
        stream,
        CompletionEvents(head, options, details=server.settings.prompt_tokens_details),
        lambda answers, usage: _whole(head, answers, usage, label),
    )
    return await run_inference(server, request, inference, treatment)


def _answers(server: Server, body: dict[str, Any], prompt: Prompt) -> list[Answer]:
    if body.get("max_tokens") is None:
        body = {**body, "max_tokens": min(_DEFAULT_MAX_TOKENS, server.settings.max_model_len)}
    limits = limits_of(server, body, prompt)
    echo = prompt.data.decode("utf-8", "replace") if body.get("echo") else ""
    answers = []
    for choice in range(choices_of(body)):
        source = source_of(
            prompt, seed=server.settings.seed, request_seed=body.get("seed"), choice=choice
        )
        answers.append(_answer(body, source, limits, echo))
    return answers


def _answer(body: dict[str, Any], source: bytes, limits: Limits, echo: str) -> Answer:
    fixed = structured_text(body, source)
    answer = text_answer(source, limits) if fixed is None else fixed_answer(fixed, limits)
    if not echo:
        return answer
    pieces = (echo + answer.pieces[0], *answer.pieces[1:]) if answer.pieces else (echo,)
    return Answer(pieces, answer.finish_reason, answer.stop_reason, None, answer.tokens)


def _whole(
    head: dict[str, Any], answers: list[Answer], usage: dict[str, Any], label: str | None
) -> dict[str, Any]:
    return {
        **head,
        "choices": [
            {
                "index": index,
                "text": answer.text,
                "logprobs": None,
                "finish_reason": answer.finish_reason,
                "stop_reason": answer.stop_reason,
                "token_ids": None,
                "prompt_logprobs": None,
                "prompt_token_ids": None,
            }
            for index, answer in enumerate(answers)
        ],
        "service_tier": None,
        "system_fingerprint": label,
        "usage": usage,
        "kv_transfer_params": None,
    }


class CompletionEvents:
    """The chunks of a streamed completion."""

    def __init__(self, head: dict[str, Any], options: dict[str, Any], *, details: bool) -> None:
        self._head = head
        self._include_usage = bool(options.get("include_usage"))
        self._details = details
        self._before = b"data: " + orjson.dumps(head)[:-1] + b',"choices":[{"index":'

    def opening(self, choice: int, answer: Answer) -> list[bytes]:
        """A completion has no opening: it starts with its text."""
        return []

    def piece(self, choice: int, text: str, generated: int) -> bytes:
        """A token of the text."""
        return (
            b'%b%d,"text":%b,"logprobs":null,"finish_reason":null,"stop_reason":null,'
            b'"token_ids":null}],"usage":null}\n\n' % (self._before, choice, orjson.dumps(text))
        )

    def closing(self, choice: int, answer: Answer, generated: int) -> bytes:
        """An empty text with the finish reason."""
        choices = [
            {
                "index": choice,
                "text": "",
                "logprobs": None,
                "finish_reason": answer.finish_reason,
                "stop_reason": answer.stop_reason,
                "token_ids": None,
            }
        ]
        return event({**self._head, "choices": choices, "usage": None})

    def usage(self, run: Run) -> bytes | None:
        """A chunk without choices."""
        if not self._include_usage:
            return None
        usage = usage_fields(run, run.generated, details=self._details)
        return event({**self._head, "choices": [], "usage": usage})
