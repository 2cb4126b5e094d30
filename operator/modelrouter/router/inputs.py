"""Where an agent's configuration comes from.

`ConfigSource` is what the agent asks for; a folder of files is one, a watch on ConfigMaps another.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import structlog
import watchfiles

from modelrouter.router.json_slices import read_slices
from modelrouter.router.pacing import Pacer

log = structlog.get_logger(__name__)

Secrets = Mapping[str, Mapping[str, str]]
"""Values by Secret name and key."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that the agent is given, as of one moment."""

    document: Mapping[str, Any] | None
    """The RouterConfig as plain data, not yet validated. None: there is none, but problems."""
    secrets: Secrets = field(default_factory=dict, repr=False)
    problems: tuple[Mapping[str, str], ...] = ()
    """What the author of the document had to leave out, for people to see on `/readyz`."""


class ConfigSource(Protocol):
    """Gives the inputs in force, and again whenever they change."""

    def updates(self) -> AsyncIterator[Inputs]:
        """Yield the inputs now if there are any, then after each change. Never ends by itself."""
        ...


class UnreadableInputError(Exception):
    """A file of the source is missing or broken; the message says which and why."""


_Marks = tuple[tuple[int, int, int] | None, ...]
"""Of each file inode, size in bytes and time of the last change in nanoseconds."""

STEP_MS = 250
"""Between two looks for changes in the directory: each one is a wake-up. Whoever cannot wait for
that says so, see `FileSource.look`."""


@dataclass(frozen=True, slots=True)
class FileSource:
    """Files that are replaced by renaming: the configuration, Secret values and problems."""

    config: Path
    secrets: Path | None = None
    problems: Path | None = None
    _due: asyncio.Event = field(default_factory=asyncio.Event, repr=False, compare=False)

    def look(self) -> None:
        """Read the files now rather than when the change is noticed."""
        self._due.set()

    async def updates(self) -> AsyncIterator[Inputs]:
        last: Inputs | None = None
        seen: _Marks | None = None
        async for _ in self._wakings():
            # Before the reading: what changes while it goes on is read again.
            if (marks := self._marks()) == seen:
                continue
            seen = marks
            try:
                inputs = await asyncio.to_thread(self.read)
            except UnreadableInputError as error:
                log.warning("configuration cannot be read; the last one stays", reason=str(error))
                inputs = Inputs(None, problems=self._read_problems())
                if not inputs.problems:
                    continue
            if inputs != last:
                last = inputs
                yield inputs

    def read(self) -> Inputs:
        """The files as they are now."""
        document = _read_json(self.config)
        if not isinstance(document, dict):
            raise UnreadableInputError(f"{self.config} is not a JSON object")
        secrets = _read_json(self.secrets) if self.secrets and self.secrets.exists() else {}
        return Inputs(document, secrets, self._read_problems())

    def _read_problems(self) -> tuple[Mapping[str, str], ...]:
        """They explain what is missing, so their own absence is no error."""
        with suppress(UnreadableInputError):
            if self.problems is not None:
                return tuple(_read_json(self.problems))
        return ()

    def _marks(self) -> _Marks:
        """What tells one state of the files from the next, without reading them."""
        return tuple(_mark(path) for path in (self.config, self.secrets, self.problems))

    async def _wakings(self) -> AsyncIterator[None]:
        watching = asyncio.create_task(self._watch())
        watching.add_done_callback(lambda _: self.look())
        try:
            while not watching.done():
                self._due.clear()
                yield
                await self._due.wait()
            await watching  # it never ends but by an error
        finally:
            watching.cancel()

    async def _watch(self) -> None:
        directory = self.config.parent
        names = {path.name for path in (self.config, self.secrets, self.problems) if path}
        was_away = False
        while True:
            if not directory.is_dir():
                was_away = True
                await asyncio.sleep(0.5)
                continue
            if was_away:
                was_away = False
                self.look()  # What came with the directory is no change in it.
            # The directory is watched, not the files: a rename gives a file a new inode. A wake-up
            # now and then mends whatever the kernel's event queue may have dropped.
            async for changes in watchfiles.awatch(
                directory,
                watch_filter=lambda _, path: Path(path).name in names,
                debounce=STEP_MS,
                step=STEP_MS,
                rust_timeout=5_000,
                yield_on_timeout=True,
                recursive=False,
            ):
                self.look()
                if not changes and not directory.is_dir():
                    break


def _mark(path: Path | None) -> tuple[int, int, int] | None:
    try:
        stat = path.stat() if path else None
    except OSError:
        return None
    return (stat.st_ino, stat.st_size, stat.st_mtime_ns) if stat else None


def _read_json(path: Path) -> Any:
    try:
        return read_slices(path.read_text(encoding="utf-8"), Pacer().rest)
    except FileNotFoundError:
        raise UnreadableInputError(f"{path} does not exist") from None
    except OSError as error:
        raise UnreadableInputError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UnreadableInputError(f"{path} is not UTF-8 at {error.start}") from None
    except json.JSONDecodeError as error:
        # The error's text holds no content of the file, only a position.
        raise UnreadableInputError(f"{path} is not JSON: {error.msg} at {error.pos}") from None
