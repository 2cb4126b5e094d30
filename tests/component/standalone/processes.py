"""Processes started as a person starts them, and looked at from outside."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from modelrouter.standalone.runtime_directory import PREFIX

MARK = "MODELROUTER_TEST_MARK"


@dataclass
class Started:
    """A process under test, everything it says, and everything it starts."""

    process: subprocess.Popen[str]
    mark: str
    lines: list[str] = field(default_factory=list)
    reader: threading.Thread | None = None
    directories: set[Path] = field(default_factory=set)
    """The directories that it was seen to use."""

    def wait_for(self, pattern: str, seconds: float = 20.0, after: int = 0) -> re.Match[str]:
        """Wait for a line that fits, at or after a position in the output."""
        deadline = time.monotonic() + seconds
        while (found := self.find(pattern, after)) is None:
            if time.monotonic() > deadline or self.process.poll() is not None:
                said = "\n".join(self.lines)
                pytest.fail(f"{pattern!r} was not said (exit {self.process.poll()}):\n{said}")
            time.sleep(0.01)
        return found

    def find(self, pattern: str, after: int = 0) -> re.Match[str] | None:
        """The first line that fits."""
        found = (re.search(pattern, line) for line in self.lines[after:])
        return next((match for match in found if match), None)

    def end(self, seconds: float = 20.0) -> int:
        """Wait for the end: the exit status."""
        status = self.process.wait(seconds)
        assert self.reader is not None
        self.reader.join(5)
        return status

    def pids(self, *words: str) -> list[int]:
        """Processes that belong to this one, itself included, whose command has all the words."""
        return [pid for pid, command in self.family() if all(word in command for word in words)]

    def family(self) -> list[tuple[int, str]]:
        """Process id and command line of everything that carries this run's mark."""
        found = []
        for directory in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self.mark.encode() in (directory / "environ").read_bytes():
                    command = (directory / "cmdline").read_text().replace("\0", " ")
                    found.append((int(directory.name), command))
        return found

    def remember_directories(self) -> None:
        """Note which directories this run uses, to look for them when it has ended."""
        commands = " ".join(command for _, command in self.family())
        bases = {Path("/dev/shm"), Path(tempfile.gettempdir())}
        made = {path for base in bases for path in base.glob(f"{PREFIX}*")}
        self.directories |= {path for path in made if str(path) in commands}
        assert self.directories

    def assert_nothing_is_left(self) -> None:
        """No process and no directory of this run is there any more."""
        until(lambda: not self.family(), 5.0)
        until(lambda: not any(path.exists() for path in self.directories), 5.0)


def until(happened: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Wait until something is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (result := happened()):
        if time.monotonic() > deadline:
            pytest.fail("waited in vain")
        time.sleep(0.01)
    return result


@contextlib.contextmanager
def started(
    arguments: list[str], environment: Mapping[str, str] | None = None
) -> Iterator[Started]:
    """Start a program with a mark that all its descendants carry; they are ended at the end."""
    mark = uuid.uuid4().hex
    process = subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            MARK: mark,
            **(environment or {}),
        },
    )
    run = Started(process, mark)

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            run.lines.append(line.rstrip())

    run.reader = threading.Thread(target=read, daemon=True)
    run.reader.start()
    try:
        yield run
    finally:
        # In order if it can be, so that it removes its directory; then whatever is left.
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        for pid, _ in run.family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        run.reader.join(5)
        assert process.stdout is not None
        process.stdout.close()
