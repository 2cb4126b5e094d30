"""Clients that read long streams, one after the other, and see whether each comes whole."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_SILENCE_SECONDS = 120.0
"""A stream that says nothing for so long hangs."""
_PAUSE_SECONDS = 0.2


@dataclass(slots=True)
class Stream:
    """What came."""

    model: str
    tokens: int = 0
    """As the usage in its last event has them."""
    first_token: float = 0.0
    """Seconds from the request."""
    seconds: float = 0.0
    finish: str = ""
    ended: bool = False
    """`[DONE]` came."""


@dataclass(slots=True)
class Streams:
    """All that the clients saw."""

    whole: list[Stream] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    begun: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def streaming(base_url: str, wanted: Sequence[tuple[str, int]]) -> Iterator[Streams]:
    """A client for each model and number of tokens. What has begun is read to its end."""
    seen, stop = Streams(), threading.Event()
    clients = [
        threading.Thread(target=_read_all, args=(base_url, model, tokens, seen, stop))
        for model, tokens in wanted
    ]
    for client in clients:
        client.start()
        time.sleep(1)  # so that they do not end at once
    try:
        yield seen
    finally:
        stop.set()
        for client in clients:
            client.join()


def read_stream(base_url: str, model: str, tokens: int) -> Stream:
    """Ask for exactly so many tokens and read them.

    Raises:
        AssertionError: the stream was not whole.
    """
    url = urlsplit(base_url)
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "What is the refund policy?"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": tokens,
        "ignore_eos": True,
    }
    began, stream = time.monotonic(), Stream(model)
    connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=_SILENCE_SECONDS)
    with closing(connection):
        path = f"{url.path}/chat/completions"
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 200, f"{answer.status}: {answer.read()[:300]!r}"
        for line in answer:
            if line.startswith(b"data: "):
                _take(stream, line[6:].strip(), time.monotonic() - began)
    stream.seconds = time.monotonic() - began
    assert stream.ended, f"a stream without an end after {stream.seconds:.1f} s: {stream}"
    assert (stream.tokens, stream.finish) == (tokens, "length"), f"not what was asked for: {stream}"
    return stream


def _take(stream: Stream, data: bytes, after: float) -> None:
    if data == b"[DONE]":
        stream.ended = True
        return
    event = json.loads(data)
    assert "error" not in event, f"an error after {after:.1f} s: {event['error']}"
    if event.get("usage"):
        stream.tokens = event["usage"]["completion_tokens"]
    for choice in event["choices"]:
        stream.first_token = stream.first_token or (after if choice["delta"].get("content") else 0)
        stream.finish = choice["finish_reason"] or stream.finish


def _read_all(base_url: str, model: str, tokens: int, seen: Streams, stop: threading.Event) -> None:
    while not stop.is_set():
        with seen.lock:
            seen.begun += 1
        try:
            stream = read_stream(base_url, model, tokens)
        except (AssertionError, OSError, http.client.HTTPException) as error:
            with seen.lock:
                seen.failures.append(f"{model}: {error!r}"[:400])
        else:
            with seen.lock:
                seen.whole.append(stream)
        time.sleep(_PAUSE_SECONDS)
