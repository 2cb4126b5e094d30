"""The access log through a named pipe."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from component.envoy.rig import Rig, pool, route
from modelrouter.router.accesslog.record import RequestRecord
from modelrouter.router.envoy.log_lines import read_line


@pytest.fixture
def piped() -> Iterator[tuple[Rig, int]]:
    directory = Path(tempfile.mkdtemp(prefix="mr-"))
    rig = Rig(directory, log_by_pipe=True)
    os.mkfifo(rig.settings.log_pipe)
    reader = os.open(rig.settings.log_pipe, os.O_RDWR | os.O_NONBLOCK)
    try:
        with rig.running():
            yield rig, reader
    finally:
        os.close(reader)
        shutil.rmtree(directory)


def test_lines(piped: tuple[Rig, int]) -> None:
    rig, reader = piped
    a = rig.backend("a")
    rig.apply({"a": pool(a)}, {"r": route("a", models=["m"])})
    rig.chat(x_request_id="one\ttab")
    rig.request("GET", "/v1/models", x_request_id="two")
    got = ""

    def records() -> list[RequestRecord] | None:
        nonlocal got
        try:
            got += os.read(reader, 65536).decode()
        except BlockingIOError:
            return None
        return [read_line(line) for line in got.splitlines()] if got.count("\n") == 2 else None

    first, second = rig.until(records)
    assert (first.request_id, first.route, first.pool) == ("one\ttab", "r", "a")
    assert (first.reason, first.attempts, first.status) == ("rule:default", 1, 200)
    assert (first.stream, first.prompt_tokens, first.completion_tokens) == (False, 3, None)
    assert first.upstream_host == a.address
    assert first.first_byte_ms is not None
    assert first.started_at > 1_700_000_000
    assert (second.request_id, second.path, second.pool) == ("two", "/v1/models", "")
    assert second.stream is None
