"""The last requests, exactly as they were received."""

from __future__ import annotations

from base64 import b64encode
from collections import deque
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Entry:
    """One request."""

    number: int
    """Counts the requests of this server from 1."""

    method: str
    path: str
    """The request target as sent, with its query."""

    headers: tuple[tuple[bytes, bytes], ...]
    """In the order and the spelling of the wire."""

    body: bytes
    started: float
    """When its head had been read: seconds since 1970."""

    ended: float | None = None
    status: int | None = None
    """HTTP status of the answer; none while it is open or if there was none."""

    client_gone: bool = False
    """Whether the client left before the answer was complete."""

    def as_json(self) -> dict[str, Any]:
        """This request as `/_simulate/requests` shows it."""
        return {
            "number": self.number,
            "method": self.method,
            "path": self.path,
            "headers": [
                [name.decode("latin-1"), value.decode("latin-1")] for name, value in self.headers
            ],
            "body": b64encode(self.body).decode(),
            "started": self.started,
            "ended": self.ended,
            "status": self.status,
            "client_gone": self.client_gone,
        }


class Journal:
    """Remembers requests up to a number and a size, the oldest forgotten first."""

    def __init__(self, *, entries: int = 1000, body_bytes: int = 64 * 1024 * 1024) -> None:
        self._entries: deque[Entry] = deque()
        self._max_entries = entries
        self._max_bytes = body_bytes
        self._bytes = 0
        self.total = 0
        """Requests received since the start or the last `clear`."""

    def open(
        self,
        method: str,
        path: str,
        headers: tuple[tuple[bytes, bytes], ...],
        body: bytes,
        started: float,
    ) -> Entry:
        """Remember a request that has just been read."""
        self.total += 1
        entry = Entry(self.total, method, path, headers, body, started)
        self._entries.append(entry)
        self._bytes += len(body)
        # The newest always stays, however large.
        while len(self._entries) > self._max_entries or (
            self._bytes > self._max_bytes and len(self._entries) > 1
        ):
            self._bytes -= len(self._entries.popleft().body)
        return entry

    def last(self, count: int) -> list[Entry]:
        """Up to `count` of the newest requests, oldest first."""
        return list(self._entries)[-count:] if count > 0 else []

    def clear(self) -> None:
        """Forget everything and count from 1 again."""
        self._entries.clear()
        self._bytes = 0
        self.total = 0
