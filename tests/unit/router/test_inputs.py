"""Where configuration comes from, and what is kept of it."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import orjson
import pytest

from modelrouter.files import replace_file
from modelrouter.router import inputs
from modelrouter.router.inputs import FileSource, Inputs, UnreadableInputError
from modelrouter.router.last_good import LastGoodConfig


def source(directory: Path) -> FileSource:
    return FileSource(
        directory / "config.json", directory / "secrets.json", directory / "problems.json"
    )


async def test_changes_are_seen_after_each_rename(tmp_path: Path) -> None:
    replace_file(tmp_path / "config.json", b'{"version": "1"}')
    updates = source(tmp_path).updates()
    assert (await anext(updates)).document == {"version": "1"}
    for version in ("2", "3"):
        waiting = asyncio.ensure_future(anext(updates))
        await asyncio.sleep(0.1)
        replace_file(tmp_path / "config.json", orjson.dumps({"version": version}))
        inputs = await asyncio.wait_for(waiting, 5)
        assert inputs.document == {"version": version}


async def test_whoever_replaced_a_file_can_have_it_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "STEP_MS", 2_000)
    replace_file(tmp_path / "config.json", b'{"version": "1"}')
    files = source(tmp_path)
    updates = files.updates()
    await anext(updates)
    replace_file(tmp_path / "config.json", b'{"version": "2"}')
    waiting = asyncio.ensure_future(anext(updates))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    files.look()
    assert (await asyncio.wait_for(waiting, 1)).document == {"version": "2"}


async def test_files_that_stay_as_they_are_are_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_file(tmp_path / "config.json", b'{"version": "1"}')
    files = source(tmp_path)
    updates = files.updates()
    await anext(updates)
    monkeypatch.setattr(FileSource, "read", lambda _: pytest.fail("read again"))
    waiting = asyncio.ensure_future(anext(updates))
    for _ in range(3):
        files.look()
        await asyncio.sleep(0.01)
    assert not waiting.done()
    waiting.cancel()


async def test_a_directory_that_comes_later(tmp_path: Path) -> None:
    waiting = asyncio.ensure_future(anext(source(tmp_path / "later").updates()))
    await asyncio.sleep(0.1)
    (tmp_path / "later").mkdir()
    replace_file(tmp_path / "later" / "config.json", b'{"version": "1"}')
    inputs = await asyncio.wait_for(waiting, 2)
    assert inputs.document == {"version": "1"}


async def test_a_rotated_secret_is_an_update(tmp_path: Path) -> None:
    replace_file(tmp_path / "config.json", b"{}")
    replace_file(tmp_path / "secrets.json", b'{"openai": {"api-key": "old"}}')
    updates = source(tmp_path).updates()
    assert (await anext(updates)).secrets == {"openai": {"api-key": "old"}}
    waiting = asyncio.ensure_future(anext(updates))
    await asyncio.sleep(0.1)
    replace_file(tmp_path / "secrets.json", b'{"openai": {"api-key": "new"}}')
    assert (await asyncio.wait_for(waiting, 5)).secrets == {"openai": {"api-key": "new"}}


async def test_a_broken_file_is_passed_over_until_it_is_mended(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    updates = source(tmp_path).updates()
    waiting = asyncio.ensure_future(anext(updates))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    replace_file(tmp_path / "config.json", b'{"version": "1"}')
    assert (await asyncio.wait_for(waiting, 5)).document == {"version": "1"}


async def test_problems_without_a_configuration_are_told(tmp_path: Path) -> None:
    replace_file(tmp_path / "problems.json", b'[{"message": "m.yaml:1: broken"}]')
    inputs = await anext(source(tmp_path).updates())
    assert inputs.document is None
    assert inputs.problems == ({"message": "m.yaml:1: broken"},)


async def test_the_directory_may_appear_later(tmp_path: Path) -> None:
    updates = source(tmp_path / "later").updates()
    waiting = asyncio.ensure_future(anext(updates))
    await asyncio.sleep(0.1)
    (tmp_path / "later").mkdir()
    replace_file(tmp_path / "later" / "config.json", b'{"version": "1"}')
    assert (await asyncio.wait_for(waiting, 10)).document == {"version": "1"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"[1]", "is not a JSON object"),
        (b"{nonsense", "is not JSON: .* at 1"),
        (b'{"nonsense\xff": 1}', "is not UTF-8 at 10"),
    ],
)
def test_what_cannot_be_read_is_said_without_its_content(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(UnreadableInputError, match=message) as raised:
        source(tmp_path).read()
    assert "nonsense" not in str(raised.value)


def test_secret_values_stay_out_of_repr() -> None:
    assert "sk-1" not in repr(Inputs({}, {"openai": {"api-key": "sk-1"}}))


def test_the_last_good_configuration_comes_back_with_its_keys(tmp_path: Path) -> None:
    kept = LastGoodConfig(tmp_path / "state")
    assert kept.load() is None
    kept.save(Inputs({"version": "1"}, {"openai": {"api-key": "sk-1"}}))
    loaded = LastGoodConfig(tmp_path / "state").load()
    assert loaded is not None
    assert loaded.document == {"version": "1"}
    assert loaded.secrets == {"openai": {"api-key": "sk-1"}}


def test_only_the_owner_can_read_what_is_kept(tmp_path: Path) -> None:
    LastGoodConfig(tmp_path).save(Inputs({}, {"openai": {"api-key": "sk-1"}}))
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_directory_that_cannot_be_written_costs_only_the_copy(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file, not a directory")
    LastGoodConfig(tmp_path / "state").save(Inputs({}))
