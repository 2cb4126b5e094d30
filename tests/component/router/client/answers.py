"""What every error that a client sees looks like."""

from __future__ import annotations

from typing import Any

import httpx

CHAT = "/v1/chat/completions"
JSON = {"content-type": "application/json"}
HELLO: list[Any] = [{"role": "user", "content": "Hello!"}]

NEVER_EJECTED = {"consecutiveErrors": 1000}
"""Outlier detection for pools whose servers fail again and again in tests."""

ENVOYS_WORDS = ("upstream", "envoy", "no healthy", "disconnect/reset", "local_reply", "payload too")
"""From the texts that Envoy answers with where nothing else is configured."""


def error_of(answer: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """The error of an answer that is as OpenAI shapes them."""
    assert answer.status_code == status, answer.text
    return error_in(answer.headers.get("content-type", ""), answer.content, code)


def error_in(content_type: str, body: bytes, code: str | None = None) -> dict[str, Any]:
    """The error in a body."""
    assert content_type.startswith("application/json"), (content_type, body)
    document = httpx.Response(200, content=body).json()
    assert set(document) == {"error"}
    error: dict[str, Any] = document["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert error["message"]
    assert error["type"] in ("invalid_request_error", "server_error", "rate_limit_error")
    assert not [word for word in ENVOYS_WORDS if word in error["message"].lower()], error
    if code is not None:
        assert error["code"] == code
    return error
