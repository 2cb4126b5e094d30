"""`/v1/chat/completions`."""

from __future__ import annotations

import time
from typing import Any

import orjson
from aiohttp import web

from modelrouter.standalone.simulator.engine import Run
from modelrouter.standalone.simulator.generation import (
    Answer,
    chosen_tool,
    fixed_answer,
    source_of,
    structured_text,
    text_answer,
    tool_answer,
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
from modelrouter.standalone.simulator.prompts import Prompt, addressed, chat_prompt
from modelrouter.standalone.simulator.server import Server, json_request
from modelrouter.standalone.simulator.streaming import event, usage_fields
from modelrouter.standalone.simulator.validation import check_chat


async def answer_chat(server: Server, request: web.Request, raw: bytes) -> web.StreamResponse:
    """One chat request."""
    body = json_request(request, raw)
    treatment = server.faults.next()
    struck = await strike(server, request, treatment, stream=bool(body.get("stream")))
    if struck is not None:
        return struck
    check_chat(body)
    model = server.models.resolve(body.get("model"))
    stream, options = streaming_of(body)
    read = chat_prompt(body["messages"], body.get("tools"))
    (prompt,) = addressed([read], server.models.adapter(model), body)
    head = {
        "id": answer_id(request, "chatcmpl"),
        "created": int(time.time()),
        "model": model,
    }
    label = server.settings.label or None
    inference = Inference(
        [prompt],
        _answers(server, body, prompt),
        stream,
        ChatEvents(head, prompt, options, details=server.settings.prompt_tokens_details),
        lambda answers, usage: _whole(head, answers, usage, label),
    )
    return await run_inference(server, request, inference, treatment)


def _answers(server: Server, body: dict[str, Any], prompt: Prompt) -> list[Answer]:
    limits = limits_of(server, body, prompt)
    called = chosen_tool(body, prompt)
    answers = []
    for choice in range(choices_of(body)):
        source = source_of(
            prompt, seed=server.settings.seed, request_seed=body.get("seed"), choice=choice
        )
        if called is not None:
            answers.append(tool_answer(*called, source, limits))
            continue
        fixed = structured_text(body, source)
        answers.append(
            text_answer(source, limits) if fixed is None else fixed_answer(fixed, limits)
        )
    return answers


def _whole(
    head: dict[str, Any], answers: list[Answer], usage: dict[str, Any], label: str | None
) -> dict[str, Any]:
    return {
        "id": head["id"],
        "object": "chat.completion",
        "created": head["created"],
        "model": head["model"],
        "choices": [
            {
                "index": index,
                "message": _message(answer),
                "logprobs": None,
                "finish_reason": answer.finish_reason,
                "stop_reason": answer.stop_reason,
                "token_ids": None,
            }
            for index, answer in enumerate(answers)
        ],
        "service_tier": None,
        "system_fingerprint": label,
        "usage": usage,
        "prompt_logprobs": None,
        "prompt_token_ids": None,
        "kv_transfer_params": None,
    }


def _message(answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": answer.text,
        "refusal": None,
        "annotations": None,
        "audio": None,
        "function_call": None,
        "reasoning": None,
    }
    if answer.tool is not None:
        function = {"name": answer.tool.name, "arguments": answer.text}
        call = {"id": answer.tool.id, "type": "function", "function": function}
        message |= {"content": None, "tool_calls": [call]}
    return message


class ChatEvents:
    """The chunks of a streamed chat answer."""

    def __init__(
        self,
        head: dict[str, Any],
        prompt: Prompt,
        options: dict[str, Any],
        *,
        details: bool,
    ) -> None:
        self._head = {
            "id": head["id"],
            "object": "chat.completion.chunk",
            "created": head["created"],
            "model": head["model"],
        }
        self._prompt_tokens = prompt.tokens
        self._include_usage = bool(options.get("include_usage"))
        self._continuous = self._include_usage and bool(options.get("continuous_usage_stats"))
        self._details = details
        self._tools: set[int] = set()
        # Serialized once; only the text differs from token to token.
        self._before = b"data: " + orjson.dumps(self._head)[:-1] + b',"choices":[{"index":'

    def opening(self, choice: int, answer: Answer) -> list[bytes]:
        """The role, and the name of the function if there is a call."""
        events = [self._chunk(choice, {"role": "assistant", "content": ""}, 0)]
        if answer.tool is not None:
            self._tools.add(choice)
            call = {
                "id": answer.tool.id,
                "type": "function",
                "index": 0,
                "function": {"name": answer.tool.name, "arguments": ""},
            }
            events.append(self._chunk(choice, {"tool_calls": [call]}, 0))
        return events

    def piece(self, choice: int, text: str, generated: int) -> bytes:
        """A token of the text or of a call's arguments."""
        if choice in self._tools:
            call = {"index": 0, "function": {"arguments": text}}
            return self._chunk(choice, {"tool_calls": [call]}, generated)
        return self._chunk(choice, {"content": text}, generated)

    def closing(self, choice: int, answer: Answer, generated: int) -> bytes:
        """An empty delta with the finish reason."""
        choices = [
            {
                "index": choice,
                "delta": {"content": ""},
                "logprobs": None,
                "finish_reason": answer.finish_reason,
                "stop_reason": answer.stop_reason,
                "token_ids": None,
            }
        ]
        chunk: dict[str, Any] = {**self._head, "choices": choices}
        if self._continuous:
            chunk["usage"] = self._usage(generated)
        return event(chunk)

    def usage(self, run: Run) -> bytes | None:
        """A chunk without choices."""
        if not self._include_usage:
            return None
        usage = usage_fields(run, run.generated, details=self._details)
        return event({**self._head, "choices": [], "usage": usage})

    def _chunk(self, choice: int, delta: dict[str, Any], generated: int) -> bytes:
        usage = b""
        if self._continuous:
            usage = b',"usage":' + orjson.dumps(self._usage(generated))
        return b'%b%d,"delta":%b,"logprobs":null,"finish_reason":null,"token_ids":null}]%b}\n\n' % (
            self._before,
            choice,
            orjson.dumps(delta),
            usage,
        )

    def _usage(self, generated: int) -> dict[str, int]:
        return {
            "prompt_tokens": self._prompt_tokens,
            "total_tokens": self._prompt_tokens + generated,
            "completion_tokens": generated,
        }
