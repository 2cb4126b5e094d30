"""Programs under test: started, measured and always stopped, with all that they started."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None).prctl

SUPERVISOR = "supervisor"
"""The process of `modelrouter run` that starts Envoy and the agent. A cluster does not have it."""
START_SECONDS = 60.0
STOP_SECONDS = 15.0


class BenchError(Exception):
    """Something could not be run; the message says what."""


def module_environment() -> dict[str, str]:
    """The environment for `python -m bench.…`, with this package where it is found."""
    paths = [str(Path(__file__).parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU seconds of one process since its start."""

    pid: int
    name: str
    seconds: float


class Program:
    """A running program with its children. As a context manager it ends on leaving."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self.log.open("wb") as log:
            # A session of its own: a Ctrl-C in the terminal ends this process first, in order.
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        process = self._process
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    @property
    def pid(self) -> int:
        """Of the program itself."""
        assert self._process is not None
        return self._process.pid

    def wait_until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait for something that the program has to do."""
        deadline = time.monotonic() + START_SECONDS
        while not holds():
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > deadline:
                last = self.log.read_text(errors="replace").splitlines()[-12:]
                words = "\n".join(f"  {line}" for line in last)
                raise BenchError(f"{self.name}: {what} did not happen; its last words:\n{words}")
            time.sleep(0.02)

    def cpu(self) -> list[Cpu]:
        """CPU time of the program and of everything it has started."""
        found = []
        for pid in family(self.pid):
            with suppress(OSError):
                found.append(Cpu(pid, _name(pid), cpu_seconds(pid)))
        return found


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process, ended ones included.

    The kernel's CPU clock of the process: the sum of utime and stime of `/proc/PID/stat`, but in
    nanoseconds and not in ticks of 10 ms.
    """
    return time.clock_gettime((~pid << 3) | 2)


def family(root: int) -> Iterator[int]:
    """A process and its descendants."""
    yield root
    with suppress(OSError):
        for task in Path(f"/proc/{root}/task").iterdir():
            with suppress(OSError):
                for child in (task / "children").read_text().split():
                    yield from family(int(child))


def busy_seconds() -> float:
    """CPU time that the whole machine has used since it started."""
    with Path("/proc/stat").open() as stat:
        ticks = [int(value) for value in stat.readline().split()[1:9]]
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle) / os.sysconf("SC_CLK_TCK")


def _end_with_parent() -> None:
    """In the child: end when the benchmark does, even if it is killed."""
    _prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)


def _name(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    if Path(words[0]).name == "envoy":
        return "Envoy"
    if "--runtime-dir" in words:
        return "agent"
    return SUPERVISOR if "modelrouter" in words else Path(words[0]).name
