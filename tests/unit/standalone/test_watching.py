"""Every way of editing is noticed once the edit is whole."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from modelrouter.standalone.watching import (
    edits,
    fingerprint,
    is_being_written,
    last_change,
    watched_directories,
    written,
)

WAIT = 5.0


class Edits:
    """Edits noticed so far, as a queue of the text that was there then."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self.seen: asyncio.Queue[float] = asyncio.Queue()

    async def follow(self) -> None:
        async for _ in edits(self.paths):
            self.seen.put_nowait(time.monotonic())

    async def next(self) -> float:
        async with asyncio.timeout(WAIT):
            return await self.seen.get()

    async def settled(self) -> None:
        await asyncio.sleep(0.15)
        while not self.seen.empty():
            self.seen.get_nowait()


@asynccontextmanager
async def following(*paths: Path) -> AsyncIterator[Edits]:
    watched = Edits(list(paths))
    task = asyncio.create_task(watched.follow())
    await asyncio.sleep(0.15)
    try:
        yield watched
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "a.yaml").write_text("a: 1")
    (folder / "notes.txt").write_text("no manifest")
    return folder


async def test_a_write_in_place(folder: Path):
    async with following(folder) as watched:
        began = time.monotonic()
        (folder / "a.yaml").write_text("a: 2")
        assert await watched.next() - began < 0.5


async def test_an_editor_that_renames_a_new_file_over_the_old(folder: Path):
    async with following(folder / "a.yaml") as watched:
        for value in (2, 3):
            (folder / ".a.yaml.swp").write_text(f"a: {value}")
            (folder / ".a.yaml.swp").rename(folder / "a.yaml")
            await watched.next()
            await watched.settled()


async def test_an_editor_that_moves_the_old_file_away_first(folder: Path):
    async with following(folder / "a.yaml") as watched:
        (folder / "a.yaml").rename(folder / "a.yaml~")
        (folder / "a.yaml").write_text("a: 2")
        await watched.next()
        await watched.settled()
        (folder / "a.yaml").write_text("a: 3")
        await watched.next()


async def test_files_that_come_and_go(folder: Path):
    async with following(folder) as watched:
        (folder / "b.yaml").write_text("b: 1")
        await watched.next()
        await watched.settled()
        (folder / "b.yaml").unlink()
        await watched.next()


async def test_other_files_are_no_edits(folder: Path):
    async with following(folder) as watched:
        (folder / "notes.txt").write_text("still no manifest")
        await asyncio.sleep(0.2)
        assert watched.seen.empty()


def config_map(folder: Path, version: int) -> None:
    """What the kubelet does: a new directory, and one rename that swaps the symlink to it."""
    data = folder / f"..{version}"
    data.mkdir()
    (data / "a.yaml").write_text(f"a: {version}")
    (folder / "..data_tmp").symlink_to(data.name)
    (folder / "..data_tmp").rename(folder / "..data")
    if not (folder / "a.yaml").is_symlink():
        (folder / "a.yaml").symlink_to("..data/a.yaml")


@pytest.mark.parametrize("whole_folder", [True, False])
async def test_a_config_map_volume(tmp_path: Path, whole_folder: bool):
    config_map(tmp_path, 1)
    async with following(tmp_path if whole_folder else tmp_path / "a.yaml") as watched:
        for version in (2, 3, 4):
            config_map(tmp_path, version)
            await watched.next()
            assert (tmp_path / "a.yaml").read_text() == f"a: {version}"
            await watched.settled()


async def test_a_symlink_into_another_folder(tmp_path: Path, folder: Path):
    link = tmp_path / "link.yaml"
    link.symlink_to(folder / "a.yaml")
    async with following(link) as watched:
        (folder / "a.yaml").write_text("a: 2")
        await watched.next()


async def test_a_folder_that_is_swapped_by_a_symlink(tmp_path: Path, folder: Path):
    (tmp_path / "current").symlink_to(folder.name)
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.yaml").write_text("a: 2")
    async with following(tmp_path / "current") as watched:
        (tmp_path / "next").symlink_to(other.name)
        (tmp_path / "next").rename(tmp_path / "current")
        await watched.next()
        await watched.settled()
        (other / "a.yaml").write_text("a: 3")
        await watched.next()


async def test_a_file_that_comes_into_being_later(tmp_path: Path):
    async with following(tmp_path / "deep" / "later.yaml") as watched:
        (tmp_path / "deep").mkdir()
        await asyncio.sleep(0.05)
        (tmp_path / "deep" / "later.yaml").write_text("a: 1")
        await watched.next()


async def test_half_a_file_is_not_read(folder: Path):
    file = folder / "a.yaml"
    async with following(folder) as watched:
        with file.open("w") as writer:
            writer.write("a: half")
            writer.flush()
            await asyncio.sleep(0.3)
            assert watched.seen.empty()
            writer.write(" and whole")
        await watched.next()
        assert file.read_text() == "a: half and whole"


async def test_a_writer_that_never_closes_is_not_waited_for_for_ever(folder: Path):
    with (folder / "a.yaml").open("a"):
        assert is_being_written(folder / "a.yaml")
        async with asyncio.timeout(WAIT):
            await written([folder])


async def test_many_edits_in_a_row_end_with_the_last(folder: Path):
    file = folder / "a.yaml"
    async with following(folder) as watched:
        for value in range(100):
            file.write_text(f"a: {value}")
            await asyncio.sleep(0.002)
        last = file.stat().st_mtime_ns
        await watched.next()
        await watched.settled()
        assert fingerprint([folder])[0][3] == last


def test_is_being_written_cannot_tell_of_a_missing_file(tmp_path: Path):
    assert not is_being_written(tmp_path / "missing")


def test_watched_directories_of_a_missing_path_is_the_nearest_that_exists(tmp_path: Path):
    assert watched_directories([tmp_path / "no" / "where"]) == {tmp_path}


def test_last_change_is_that_of_the_youngest_file(folder: Path):
    (folder / "b.yaml").write_text("b: 1")
    os.utime(folder / "a.yaml", (1000, 1000))
    os.utime(folder / "b.yaml", (2000, 2000))
    assert last_change([folder]) == 2000
    assert last_change([folder / "missing"]) == 0
