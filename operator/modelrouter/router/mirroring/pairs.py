"""Bringing together what belongs to one request: its prompt, both answers and both log lines.

The parts come in any order, each by itself, from Envoy's Lua and from the access log. Nothing here
waits for them: what does not become whole in time makes room for others.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from modelrouter.router.accesslog.record import RequestRecord

MOST_BYTES = 16 * 1024 * 1024
"""Of texts that wait for their counterparts."""
MOST_WAITING = 2_000
LONGEST_WAIT_SECONDS = 300.0
MOST_EARLY = 1_000
"""Log lines that are remembered for parts that come after them."""

_ACCEPTED = b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt, as the copy of a request had it."""

    route: str
    pool: str
    """Where the copy goes."""
    evaluates: bool
    path: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer as it passed, cut where it was too long."""

    status: int
    content_type: str
    body: bytes


@dataclass(slots=True)
class Pair:
    """What is known of one request that is compared."""

    request_id: str
    since: float
    size: int = 0
    asked: Asked | None = None
    original: Answered | None = None
    copy: Answered | None = None
    original_record: RequestRecord | None = None
    copy_record: RequestRecord | None = None

    @property
    def whole(self) -> bool:
        """Whether nothing is missing."""
        return None not in (
            self.asked, self.original, self.copy, self.original_record, self.copy_record
        )  # fmt: skip


class PairStore:
    """Pairs that are not whole yet. Gives those that are to `ready`."""

    def __init__(
        self, ready: Callable[[Pair], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ready = ready
        self._clock = clock
        self._waiting: OrderedDict[str, Pair] = OrderedDict()
        self._bytes = 0
        self._early: OrderedDict[tuple[str, bool], RequestRecord] = OrderedDict()
        self.incomplete = 0
        """Pairs given up: one side never came, as when a client leaves, or there was no room."""

    def take(self, path: str, headers: dict[str, str], body: bytes) -> bytes:
        """A part from Envoy's Lua, as an HTTP request; the answer to that."""
        request_id = headers.get("x-request-id", "")
        if request_id:
            pair = self._waiting.get(request_id)
            if pair is None:
                pair = self._waiting[request_id] = Pair(request_id, self._clock())
                pair.original_record = self._early.pop((request_id, False), None)
                pair.copy_record = self._early.pop((request_id, True), None)
            if path == "/prompt":
                pair.asked = _asked(headers, body)
            else:
                status = headers.get("x-mr-status", "")
                kind = headers.get("content-type", "")
                answered = Answered(int(status) if status.isdigit() else 0, kind, body)
                if path == "/original":
                    pair.original = answered
                else:
                    pair.copy = answered
            pair.size += len(body)
            self._bytes += len(body)
            self._settle(pair)
        return _ACCEPTED

    def note(self, record: RequestRecord, *, copy: bool = False) -> None:
        """A line of the access log about a route that compares."""
        pair = self._waiting.get(record.request_id)
        if pair is None:
            # Of a request that is not compared, or its parts are still on their way.
            self._early[record.request_id, copy] = record
            if len(self._early) > MOST_EARLY:
                self._early.popitem(last=False)
            return
        if copy:
            pair.copy_record = record
        else:
            pair.original_record = record
        self._settle(pair)

    def _settle(self, pair: Pair) -> None:
        if pair.whole:
            self._drop(pair)
            self._ready(pair)
        while self._waiting and self._is_over(next(iter(self._waiting.values()))):
            self._drop(next(iter(self._waiting.values())))
            self.incomplete += 1

    def _is_over(self, oldest: Pair) -> bool:
        return (
            self._bytes > MOST_BYTES
            or len(self._waiting) > MOST_WAITING
            or self._clock() - oldest.since > LONGEST_WAIT_SECONDS
        )

    def _drop(self, pair: Pair) -> None:
        del self._waiting[pair.request_id]
        self._bytes -= pair.size


def _asked(headers: dict[str, str], body: bytes) -> Asked:
    return Asked(
        headers.get("x-mr-mirror-route", ""),
        headers.get("x-mr-mirror-pool", ""),
        "e" in headers.get("x-mr-mirror-how", ""),
        headers.get("x-mr-path", ""),
        body,
    )
