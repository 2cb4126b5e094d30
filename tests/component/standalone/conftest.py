"""A router started as a person starts it, in a process of its own, and looked at from outside."""

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

import httpx
import pytest

from modelrouter.standalone.ports import free_port
from modelrouter.standalone.runtime_directory import PREFIX

MARK = "MODELROUTER_TEST_MARK"
_RUN = """
import sys
from pathlib import Path
from modelrouter.standalone.options import RunOptions
from modelrouter.standalone.running import run
folder, options = Path(sys.argv[1]), eval(sys.argv[2])
sys.exit(run(RunOptions(paths=[folder], simulate=True, envoy_concurrency=1, **options)))
"""


@dataclass
class Started:
    """A process under test, everything it says, and everything it starts."""

    process: subprocess.Popen[str]
    mark: str
    lines: list[str] = field(default_factory=list)
    reader: threading.Thread | None = None

    def wait_for(self, pattern: str, seconds: float = 20.0, after: int = 0) -> re.Match[str]:
        """Wait for a line that fits, at or after a position in the output."""
        found = until(lambda: self.find(pattern, after) or self.process.poll(), seconds)
        if not isinstance(found, re.Match):
            pytest.fail(f"ended with {found} without {pattern!r}:\n" + "\n".join(self.lines))
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

    @property
    def directories(self) -> list[Path]:
        """Directories of this run that are there: it is told to make them where they are found."""
        bases = {Path("/dev/shm"), Path(tempfile.gettempdir())}
        return [
            path
            for base in bases
            for path in base.glob(f"{PREFIX}*")
            if str(path) in self.words or path in self.made
        ]

    @property
    def words(self) -> str:
        """The commands of the family, which name the runtime directory."""
        return " ".join(command for _, command in self.family())

    made: set[Path] = field(default_factory=set)

    def remember_directories(self) -> None:
        """Note which directories this run uses, to look for them when it has ended."""
        self.made |= set(self.directories)
        assert self.made

    def assert_nothing_is_left(self) -> None:
        """No process and no directory of this run is there any more."""
        until(lambda: not self.family() and not self.directories, 5.0)


def until(happened: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Wait until something is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (result := happened()):
        if time.monotonic() > deadline:
            pytest.fail("waited in vain")
        time.sleep(0.01)
    return result


@contextlib.contextmanager
def started(arguments: list[str], environment: Mapping[str, str] | None = None) -> Iterator[Started]:
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
        for pid, _ in run.family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        run.reader.join(5)
        assert process.stdout is not None
        process.stdout.close()


@dataclass
class Desk:
    """A folder of manifests and the router that follows it."""

    folder: Path
    port: int = field(default_factory=free_port)
    admin_port: int = field(default_factory=free_port)
    pools: dict[str, int] = field(default_factory=dict)
    """Ports of the pools `small` and `large`."""

    def write(self, weights: tuple[int, int] = (100, 0), extra: str = "") -> None:
        """Write the route, with the weights of `small` and `large`."""
        small, large = weights
        (self.folder / "route.yaml").write_text(
            f"""apiVersion: modelrouter.dev/v1alpha1
kind: ModelRoute
metadata: {{name: chat}}
spec:
  models: [chat]
  pools: [small, large]
  rules:
  - name: default
    targets:
    - {{pool: small, weight: {small}}}
    - {{pool: large, weight: {large}}}
{extra}"""
        )

    def write_pools(self) -> None:
        """Write both pools, each with one local endpoint."""
        for name in ("small", "large"):
            port = self.pools.setdefault(name, free_port())
            (self.folder / f"{name}.yaml").write_text(
                f"""apiVersion: modelrouter.dev/v1alpha1
kind: ModelPool
metadata: {{name: {name}}}
spec:
  model: {name}-model
  endpoints: ["127.0.0.1:{port}"]
  healthCheck: {{interval: 1s, timeout: 1s}}
"""
            )

    @contextlib.contextmanager
    def running(
        self, environment: Mapping[str, str] | None = None, **options: object
    ) -> Iterator[Started]:
        """A router on these manifests; it need not come up."""
        options = {"port": self.port, "admin_port": self.admin_port, **options}
        arguments = [sys.executable, "-c", _RUN, str(self.folder), repr(options)]
        with started(arguments, environment) as run:
            yield run

    def ask(self, **more: object) -> httpx.Response:
        """One request."""
        body = {"model": "chat", "max_tokens": 2, "messages": [{"role": "user", "content": "Hi"}]}
        return httpx.post(f"{self.url}/chat/completions", json={**body, **more}, timeout=10)

    @property
    def url(self) -> str:
        """The base URL for clients."""
        return f"http://127.0.0.1:{self.port}/v1"

    def admin(self, path: str) -> Any:
        """What the agent says of itself."""
        return httpx.get(f"http://127.0.0.1:{self.admin_port}{path}", timeout=5).json()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Manifests of a route with two pools: everything goes to the first."""
    desk = Desk(tmp_path / "manifests")
    desk.folder.mkdir()
    desk.write_pools()
    desk.write()
    return desk
