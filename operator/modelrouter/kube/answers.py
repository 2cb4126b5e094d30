"""Making sense of what comes back: objects, watch events, refusals, and no answer at all."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import orjson

from modelrouter.kube.errors import NO_ANSWER, KubeError
from modelrouter.kube.resources import Object


def read_object(operation: str, content: bytes) -> Object:
    """A JSON object. Raises `KubeError` for anything else, as a proxy's error page."""
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict):
        raise _foreign(operation)
    return answer


def read_metadata(operation: str, found: Object) -> Object:
    """The metadata of an object or list. Raises `KubeError` if it has no version."""
    metadata = found.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("resourceVersion"), str):
        raise _foreign(operation)
    return metadata


async def read_events(operation: str, content: aiohttp.StreamReader) -> AsyncIterator[Object]:
    """The events of a watch, one JSON document a line, each with `type` and `object`.

    The reader's own lines end at 64 KiB; objects do not.
    """
    pieces: list[bytes] = []
    async for chunk in content.iter_any():
        *ended, rest = chunk.split(b"\n")
        for line in ended:
            whole = b"".join((*pieces, line)) if pieces else line
            pieces.clear()
            if whole.strip():
                yield _event(operation, whole)
        if rest:
            pieces.append(rest)


def _event(operation: str, line: bytes) -> Object:
    event = read_object(operation, line)
    found = event.get("object")
    if not isinstance(found, dict):
        raise _foreign(operation)
    if event.get("type") != "ERROR":
        read_metadata(operation, found)
    return event


def refusal(operation: str, response: aiohttp.ClientResponse, content: bytes) -> KubeError:
    """The error of an answer, which is a `Status` object if the API server itself gave it."""
    reason, message = response.reason or "", ""
    try:
        status = orjson.loads(content)
        reason = status.get("reason") or reason
        message = status.get("message") or ""
    except (orjson.JSONDecodeError, AttributeError):
        message = content[:200].decode(errors="replace").strip()
    return KubeError(
        operation,
        response.status,
        reason or str(response.status),
        message or f"answered with status {response.status}",
        _seconds(response.headers.get("retry-after")),
    )


def no_answer(operation: str, error: Exception) -> KubeError:
    """The error of a request that nobody answered, or not to its end."""
    if isinstance(error, TimeoutError):
        return KubeError(operation, NO_ANSWER, "Timeout", "the API server did not answer in time")
    detail = str(error) or type(error).__name__
    return KubeError(
        operation, NO_ANSWER, "Unreachable", f"no answer from the API server: {detail}"
    )


def _seconds(text: str | None) -> float | None:
    """The API server writes whole seconds; a date, which HTTP allows too, counts as nothing."""
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:
        return None


def _foreign(operation: str) -> KubeError:
    return KubeError(
        operation, NO_ANSWER, "Unreadable", "the answer is no Kubernetes object; is this the API?"
    )
