"""Errors in the shapes vLLM gives them."""

from __future__ import annotations

from http import HTTPStatus

import orjson
from aiohttp import web

# vLLM's own names; for any other status it uses the reason phrase.
_TYPES = {
    400: "BadRequestError",
    404: "NotFoundError",
    429: "RateLimitError",
    500: "InternalServerError",
    501: "NotImplementedError",
    503: "ServiceUnavailableError",
}


class ApiError(Exception):
    """A request that ends in an error answer."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        error_type: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.error_type = error_type or error_type_of(status)
        self.retry_after_s = retry_after_s

    def payload(self) -> dict[str, object]:
        """The JSON of the answer's body."""
        return {
            "error": {
                "message": self.message,
                "type": self.error_type,
                "param": self.param,
                "code": self.status,
            }
        }


class RouteError(ApiError):
    """No such path, or not by this method: the web framework's own answer, unlike OpenAI's."""

    def __init__(self, status: int, *, allow: str | None = None) -> None:
        super().__init__(status, HTTPStatus(status).phrase)
        self.allow = allow
        """The method by which there is this path."""

    def payload(self) -> dict[str, object]:
        """The JSON of the answer's body."""
        return {"detail": self.message}


class DrainingError(ApiError):
    """What vLLM says to whoever comes while it drains: its tokenizer's threads are gone first."""

    def __init__(self) -> None:
        super().__init__(500, "cannot schedule new futures after shutdown")


class EngineDeadError(ApiError):
    """The engine has died: what vLLM says to all whom it was working for, and to all after."""

    def __init__(self) -> None:
        super().__init__(
            500, "EngineCore encountered an issue. See stack trace (above) for the root cause."
        )


def error_type_of(status: int) -> str:
    """The `type` of an error with this HTTP status."""
    if status in _TYPES:
        return _TYPES[status]
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "InternalServerError"


def error_response(error: ApiError) -> web.Response:
    """The error as an HTTP answer."""
    headers = {}
    if error.retry_after_s is not None:
        # Retry-After counts whole seconds; rounding down would invite the client too early.
        headers["Retry-After"] = str(max(0, -int(-error.retry_after_s // 1)))
    if isinstance(error, RouteError) and error.allow is not None:
        headers["Allow"] = error.allow
    return web.Response(
        status=error.status,
        body=orjson.dumps(error.payload()),
        content_type="application/json",
        headers=headers,
    )


def unauthorized() -> web.Response:
    """vLLM's middleware answers before its error handlers: `error` is a plain string."""
    return web.Response(
        status=401, body=b'{"error":"Unauthorized"}', content_type="application/json"
    )
