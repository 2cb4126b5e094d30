"""Refusals: answers that the router gives by itself, shaped as OpenAI's API shapes errors."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

QUOTED_LENGTH = 200
"""How much of a client's own text (a model's name, say) a message repeats, in characters."""

COLD_START_RETRY_SECONDS = 10
"""A model that has to be loaded takes from seconds to minutes."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error for the client instead of a model's answer."""

    status: int
    """HTTP status."""
    message: str
    """For people: what is wrong and what would be right."""
    type: str = "invalid_request_error"
    """OpenAI's class of error: `invalid_request_error` or `server_error`."""
    param: str | None = None
    """The request parameter at fault."""
    code: str | None = None
    """For programs: the exact error, such as `model_not_found`."""
    retry_after: int | None = None
    """Seconds after which another attempt may succeed, for the header `retry-after`."""

    def body(self) -> bytes:
        """The response body: `{"error": {"message", "type", "param", "code"}}`."""
        return orjson.dumps(
            {
                "error": {
                    "message": self.message,
                    "type": self.type,
                    "param": self.param,
                    "code": self.code,
                }
            }
        )


def unknown_model(model: str) -> Refusal:
    """No route serves this virtual model. The message lists no other: they may be private."""
    return Refusal(
        404,
        f"The model `{quoted(model)}` does not exist or you do not have access to it.",
        param="model",
        code="model_not_found",
    )


def no_pool(rule: str) -> Refusal:
    """The rule that matched has no pool that exists."""
    return Refusal(
        503,
        f"The rule {rule} of this model's route has no pool to send the request to.",
        type="server_error",
        code="no_pool",
        retry_after=5,
    )


def overloaded() -> Refusal:
    """Every pool that could take the request is full. In a second some requests have ended."""
    return Refusal(
        503,
        "Every model that may serve this request is at its limit of concurrent requests. "
        "Please try again.",
        type="server_error",
        code="overloaded",
        retry_after=1,
    )


def too_many_wait() -> Refusal:
    """The model is scaled to zero, and as many requests wait for it as may."""
    return Refusal(
        503,
        "The model that serves this request is being started, and too many requests wait for it "
        "already. Please try again.",
        type="server_error",
        code="cold_start_full",
        retry_after=COLD_START_RETRY_SECONDS,
    )


def waited_too_long() -> Refusal:
    """The model is scaled to zero and did not come up while the request waited."""
    return Refusal(
        503,
        "The model that serves this request is being started, and that takes longer than a "
        "request may wait. Please try again.",
        type="server_error",
        code="cold_start_timeout",
        retry_after=COLD_START_RETRY_SECONDS,
    )


def quoted(text: str) -> str:
    """A client's text, cut to a length that fits a message."""
    return text if len(text) <= QUOTED_LENGTH else text[:QUOTED_LENGTH] + "…"
