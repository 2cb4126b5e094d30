"""How access log lines become records."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from modelrouter.router.accesslog.pipe import LogPipe
from modelrouter.router.accesslog.record import RequestRecord
from modelrouter.router.envoy.log_lines import LINE_FORMAT, SEPARATOR, read_line

FULL = ("abc", "chat", "rule:default", "pool-b", "2", "200", "1250", "200", "11/22", "a,a", "UC",
        "text/event-stream; charset=utf-8")  # fmt: skip
RECORD = RequestRecord(
    "abc", "chat", "rule:default", "pool-b", 2, 200, 1250.0, 200.0, 11, 22, ("a", "a"), "UC", True
)


def line(*fields: str) -> str:
    return SEPARATOR.join(fields)


def test_a_full_line() -> None:
    assert read_line(line(*FULL)) == RECORD


def test_what_envoy_does_not_say() -> None:
    record = read_line(line("abc", *["-"] * 3, "0", "0", "3", *["-"] * 5))
    assert (record.route, record.reason, record.pool) == ("", "", "")
    assert (record.first_byte_ms, record.prompt_tokens, record.completion_tokens) == (None,) * 3
    assert (record.failed_streams, record.flags) == ((), "")


@pytest.mark.parametrize(
    ("said", "tokens"), [("7/", (7, None)), ("/9", (None, 9)), ("/", (None, None))]
)
def test_tokens_of_one_kind(said: str, tokens: tuple[int | None, int | None]) -> None:
    record = read_line(line(*(said if field == "11/22" else field for field in FULL)))
    assert (record.prompt_tokens, record.completion_tokens) == tokens


@pytest.mark.parametrize("text", ["", "nonsense", line(*FULL[:5]), line(*FULL[:4], "x", *FULL[5:])])
def test_what_is_no_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_line(text)


def test_the_format_has_a_field_for_each_value() -> None:
    assert LINE_FORMAT.endswith("\n")
    assert len(LINE_FORMAT.split(SEPARATOR)) == len(FULL)


async def arrived(records: list[RequestRecord], count: int) -> None:
    async with asyncio.timeout(5):
        while len(records) < count:
            await asyncio.sleep(0.001)


async def test_lines_arrive_in_any_pieces(tmp_path: Path) -> None:
    records: list[RequestRecord] = []
    pipe = LogPipe(tmp_path / "log", read_line, records.append)
    pipe.open()
    with (tmp_path / "log").open("wb", buffering=0) as writer:
        whole = (line(*FULL) + "\n").encode()
        for piece in (whole[:7], whole[7:] + whole + b"broken\n" + whole[:-1], b"\n"):
            writer.write(piece)
            await asyncio.sleep(0.01)
        await arrived(records, 3)
    assert records == [RECORD] * 3
    assert pipe.unreadable == 1
    pipe.close()


async def test_a_consumer_that_fails_does_not_end_the_log(tmp_path: Path) -> None:
    records: list[RequestRecord] = []

    def fail_first(record: RequestRecord) -> None:
        records.append(record)
        if len(records) == 1:
            raise RuntimeError("no")

    pipe = LogPipe(tmp_path / "log", read_line, fail_first)
    pipe.open()
    with (tmp_path / "log").open("wb", buffering=0) as writer:
        writer.write((line(*FULL) + "\n").encode() * 2)
        await arrived(records, 2)
    pipe.close()


async def test_the_next_agent_reads_on_in_the_same_pipe(tmp_path: Path) -> None:
    records: list[RequestRecord] = []
    first = LogPipe(tmp_path / "log", read_line, records.append)
    first.open()
    writer = os.open(tmp_path / "log", os.O_WRONLY)
    first.close()
    second = LogPipe(tmp_path / "log", read_line, records.append)
    second.open()
    os.write(writer, (line(*FULL) + "\n").encode())
    await arrived(records, 1)
    os.close(writer)
    second.close()
