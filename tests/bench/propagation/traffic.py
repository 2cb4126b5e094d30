"""Requests without a pause, and which pool answered them when."""

from __future__ import annotations

import http.client
import json
import threading
import time
from types import TracebackType
from typing import NamedTuple, Self

from bench.processes import BenchError

PAUSE_SECONDS = 0.002
SETTLED_AFTER = 20
"""Traffic has changed when so many answers in a row came from the new pool."""


class Answer(NamedTuple):
    """One answer: when it was complete, and from which pool."""

    at: float
    pool: str


class Traffic:
    """One client with one connection. Times are those of `time.time`, as the API server's are."""

    def __init__(self, host: str, port: int, model: str) -> None:
        self._host, self._port = host, port
        messages = [{"role": "user", "content": "hi"}]
        self._body = json.dumps({"model": model, "messages": messages}).encode()
        self._answers: list[Answer] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        self.failures: list[str] = []
        """What was answered other than by a model server."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(5)

    @property
    def count(self) -> int:
        """Answers so far."""
        return len(self._answers)

    def await_pool(self, pool: str, since: float, seconds: float) -> Answer:
        """The first answer after which all come from this pool, of those after `since`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(0.005)
            last = self._answers[-SETTLED_AFTER:]
            if len(last) < SETTLED_AFTER or last[0].at < since:
                continue
            if all(answer.pool == pool for answer in last):
                return self._first_of(pool, since)
        raise BenchError(f"requests do not reach pool {pool} within {seconds:g} s")

    def _first_of(self, pool: str, since: float) -> Answer:
        answers = self._answers
        index = len(answers) - 1
        while index > 0 and answers[index - 1].pool == pool and answers[index - 1].at >= since:
            index -= 1
        return answers[index]

    def _run(self) -> None:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=10)
        headers = {"content-type": "application/json"}
        while not self._stop.is_set():
            try:
                connection.request("POST", "/v1/chat/completions", self._body, headers)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
                time.sleep(0.01)
                continue
            if answer.status != 200:
                self.failures.append(f"status {answer.status}")
            self._answers.append(Answer(time.time(), answer.headers.get("x-mr-pool") or ""))
            time.sleep(PAUSE_SECONDS)
        connection.close()
