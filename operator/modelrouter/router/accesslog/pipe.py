"""The reading end of the access log's named pipe."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

from modelrouter.router.accesslog.record import RequestRecord

log = structlog.get_logger(__name__)

PIPE_BYTES = 1024 * 1024
"""Room for some thousand requests, the most that an unprivileged process may ask for."""

_CHUNK = 256 * 1024

Read = Callable[[str], RequestRecord]
Consume = Callable[[RequestRecord], None]


class LogPipe:
    """Reads lines from a named pipe and gives each as a record to a consumer.

    The pipe is made if need be, and has to be there before Envoy starts: Envoy waits for a reader
    when it opens the pipe, and what it writes while the agent is away waits in the pipe as long
    as there is room.
    """

    def __init__(self, path: Path, read: Read, consume: Consume) -> None:
        self._path = path
        self._read = read
        self._consume = consume
        self._descriptor = -1
        self._rest = b""
        self.unreadable = 0
        """Lines that were none of this log."""

    def open(self) -> None:
        """Begin to read, on the running event loop."""
        with suppress(FileExistsError):
            os.mkfifo(self._path, 0o660)
        # For writing, too: a pipe whose last writer goes would be at its end for ever.
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_NONBLOCK)
        with suppress(OSError):
            fcntl.fcntl(self._descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        asyncio.get_running_loop().add_reader(self._descriptor, self._take)

    def close(self) -> None:
        """Stop reading. The pipe stays for the next agent."""
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _take(self) -> None:
        try:
            data = os.read(self._descriptor, _CHUNK)
        except BlockingIOError:
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            try:
                self._consume(self._read(line.decode("latin-1")))
            except ValueError:
                # Half a line, from an Envoy that was killed while it wrote.
                self.unreadable += 1
            except Exception:
                log.exception("a request could not be counted")
