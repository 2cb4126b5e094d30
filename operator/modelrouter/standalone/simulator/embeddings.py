"""`/v1/embeddings`."""

from __future__ import annotations

import time
from typing import Any

from aiohttp import web

from modelrouter.standalone.simulator.embedding import base64_floats, unit_vector
from modelrouter.standalone.simulator.errors import ApiError
from modelrouter.standalone.simulator.inference import answer_id, strike
from modelrouter.standalone.simulator.prompts import addressed, chat_prompt, text_prompts
from modelrouter.standalone.simulator.server import Server, json_request, json_response
from modelrouter.standalone.simulator.validation import check_input

_MAX_DIMENSIONS = 16_384


async def answer_embeddings(server: Server, request: web.Request, raw: bytes) -> web.StreamResponse:
    """One request for the vectors of one or several texts."""
    body = json_request(request, raw)
    treatment = server.faults.next()
    struck = await strike(server, request, treatment, stream=False)
    if struck is not None:
        return struck
    check_input(body)
    model = server.models.resolve(body.get("model"))
    if body.get("messages"):
        prompts = [chat_prompt(body["messages"])]
    else:
        prompts = text_prompts(body.get("input"), "input")
    prompts = addressed(prompts, server.models.adapter(model), body)
    window = server.settings.max_model_len
    for prompt in prompts:
        if prompt.tokens > window:
            raise ApiError(
                400,
                f"This model's maximum context length is {window} tokens. However, you requested "
                f"{prompt.tokens} tokens in the input for embedding generation. Please reduce the "
                "length of the input.",
                param="input_tokens",
            )
    dimensions = _dimensions(server, body)
    encoding = body.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        raise ApiError(
            400,
            f"encoding_format must be float or base64, got {encoding!r}.",
            param="encoding_format",
        )
    engine = server.engine
    run = await engine.start(
        prompts, 0, first_token_s=treatment.first_token_s, per_token_s=treatment.per_token_s
    )
    reason = "abort"
    try:
        await engine.wait(run.first_due)
        reason = "stop"
    finally:
        engine.finish(run, reason)
    data: list[dict[str, Any]] = []
    for index, prompt in enumerate(prompts):
        vector = unit_vector(prompt.source, dimensions=dimensions, seed=server.settings.seed)
        value: object = base64_floats(vector) if encoding == "base64" else vector
        data.append({"index": index, "object": "embedding", "embedding": value})
    usage = {
        "prompt_tokens": run.prompt_tokens,
        "total_tokens": run.prompt_tokens,
        "completion_tokens": 0,
        "prompt_tokens_details": None,
    }
    return json_response(
        {
            "id": answer_id(request, "embd"),
            "object": "list",
            "created": int(time.time()),
            "model": model,
            "data": data,
            "usage": usage,
        }
    )


def _dimensions(server: Server, body: dict[str, Any]) -> int:
    value = body.get("dimensions")
    if value is None:
        return server.settings.embedding_dimensions
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MAX_DIMENSIONS:
        raise ApiError(
            400,
            f"dimensions must be an integer from 1 to {_MAX_DIMENSIONS}, got {value!r}.",
            param="dimensions",
        )
    return value
