"""Clients that ask without pause while something is done to the cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import openai

_CLIENTS = 4
_SETTLE_SECONDS = 2.0
_TIMEOUT_SECONDS = 30.0


@dataclass(slots=True)
class Traffic:
    """What the clients saw."""

    answered: int = 0
    streamed: int = 0
    failures: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def assert_unharmed(self, at_least: int = 20) -> None:
        """Every request was answered, and there were enough to tell."""
        total = self.answered + self.streamed
        assert not self.failures, (
            f"{len(self.failures)} of {total + len(self.failures)} requests failed: "
            + "; ".join(sorted(set(self.failures))[:5])
        )
        assert min(self.answered, self.streamed) >= at_least, "too few requests to tell"


@contextmanager
def running_traffic(base_url: str, model: str) -> Iterator[Traffic]:
    """Ask from several official clients that never retry: half keep their connections, half do not.

    It starts before the context is entered and lasts a little longer than it.
    """
    seen, stop = Traffic(), threading.Event()
    clients = [
        threading.Thread(target=_ask, args=(base_url, model, number % 2 == 0, seen, stop))
        for number in range(_CLIENTS)
    ]
    for client in clients:
        client.start()
    try:
        time.sleep(_SETTLE_SECONDS)
        yield seen
        time.sleep(_SETTLE_SECONDS)
    finally:
        stop.set()
        for client in clients:
            client.join()


def _ask(base_url: str, model: str, keeps: bool, seen: Traffic, stop: threading.Event) -> None:
    client = _client(base_url)
    stream = False
    while not stop.is_set():
        stream = not stream
        if not keeps:
            client.close()
            client = _client(base_url)
        try:
            _ask_once(client, model, stream)
        except (openai.OpenAIError, AssertionError) as error:
            with seen.lock:
                cause = f" ({error.__cause__!r})" if error.__cause__ else ""
                seen.failures.append(f"{'stream' if stream else 'answer'}: {error!r}{cause}"[:400])
        else:
            with seen.lock:
                seen.streamed += stream
                seen.answered += not stream
    client.close()


def _client(base_url: str) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=base_url, api_key="unused", max_retries=0, timeout=_TIMEOUT_SECONDS
    )


def _ask_once(client: openai.OpenAI, model: str, stream: bool) -> None:
    question: openai.types.chat.ChatCompletionUserMessageParam
    question = {"role": "user", "content": "What is the refund policy?"}
    if not stream:
        answer = client.chat.completions.create(model=model, messages=[question])
        assert answer.choices[0].finish_reason, "an answer that does not end"
        return
    last = None
    for chunk in client.chat.completions.create(model=model, messages=[question], stream=True):
        last = chunk.choices[0].finish_reason if chunk.choices else last
    assert last, "a stream that was cut off"
