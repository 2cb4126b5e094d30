"""A stream that is read while other things happen."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from http.client import HTTPException
from types import TracebackType
from typing import Self

from vllm.serving import ModelServer


class Reader:
    """Reads a stream of so many tokens from a server, in a thread."""

    def __init__(self, server: ModelServer, tokens: int) -> None:
        self.tokens = 0
        """That came."""
        self.done = False
        """`[DONE]` came."""
        self.ended = False
        """Nothing more will come."""
        self._connection = server.connection(timeout=300)
        self._body = {
            "model": "tiny",
            "messages": [{"role": "user", "content": "hi"}],
            "stream": True,
            "max_tokens": tokens,
            "ignore_eos": True,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        }
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if (socket := self._connection.sock) is not None:
            with suppress(OSError):
                socket.shutdown(2)
        self._thread.join()
        self._connection.close()

    def await_tokens(self, count: int, within: float = 60) -> None:
        """Return when so many have come."""
        deadline = time.monotonic() + within
        while self.tokens < count:
            assert time.monotonic() < deadline, f"{self.tokens} tokens after {within:.0f} s"
            assert not self.ended, f"it ended after {self.tokens} tokens"
            time.sleep(0.01)

    def await_end(self, within: float) -> None:
        """Return when nothing more will come."""
        self._thread.join(within)
        assert self.ended, f"{self.tokens} tokens after {within:.0f} s, and no end"

    def _read(self) -> None:
        headers = {"content-type": "application/json"}
        with suppress(OSError, HTTPException):
            path = "/v1/chat/completions"
            self._connection.request("POST", path, json.dumps(self._body), headers)
            for line in self._connection.getresponse():
                if line == b"data: [DONE]\n":
                    self.done = True
                elif line.startswith(b"data: "):
                    usage = json.loads(line[6:]).get("usage")
                    self.tokens = usage["completion_tokens"] if usage else self.tokens
        self.ended = True
