"""Child processes that are kept running, and that never outlive this one."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

QUICK_DEATH = 5.0
"""A child that lived for less than so many seconds died quickly."""
_FREE_RESTARTS = 2
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 10.0
_LONGEST_LINE = 16_384

_PR_SET_PDEATHSIG = 1
# Looked up before any fork: between fork and exec only what is already loaded is safe to use.
_prctl = ctypes.CDLL(None, use_errno=True).prctl


def restart_pause(quick_deaths: int) -> float:
    """Seconds to wait before a restart, after so many quick deaths in a row.

    The first restarts are immediate, because one death tells nothing about the next life; a
    child that keeps dying must not keep a processor busy.
    """
    if quick_deaths <= _FREE_RESTARTS:
        return 0.0
    doublings = min(quick_deaths - _FREE_RESTARTS - 1, 16)
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * float(2**doublings))


@dataclass(frozen=True, slots=True)
class Command:
    """A program to keep running."""

    name: str
    """What people call it, such as `agent`."""
    arguments: Sequence[str]
    """The program and its arguments."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables on top of this process's own."""
    restart_delay: float = 0.0
    """Seconds that it stays away after it died by itself."""


@dataclass(frozen=True, slots=True)
class Death:
    """A child ended that nobody had asked to."""

    name: str
    pid: int | None
    """None: it could not even be started."""
    reason: str
    """How it ended, for people: `killed by SIGKILL`, `exit code 1`."""
    restart_in: float | None
    """Seconds until it is started again; None: it is held back until further notice."""


class Observer(Protocol):
    """Hears what happens to children."""

    def started(self, name: str, pid: int, starts: int) -> None:
        """A child was started for the `starts`-th time."""

    def died(self, death: Death) -> None:
        """A child ended that nobody had asked to."""

    def said(self, name: str, line: str) -> None:
        """A child wrote a line of output."""


class Child:
    """One program, started again whenever it ends, until it is told to stop."""

    def __init__(self, command: Command, observer: Observer) -> None:
        self.command = command
        self.pid: int | None = None
        """Process id while it runs."""
        self.starts = 0
        """How often it was started."""
        self._observer = observer
        self._stopping = asyncio.Event()
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """What people call it."""
        return self.command.name

    def start(self) -> None:
        """Start the program and keep it running."""
        self._task = asyncio.create_task(self._keep_running(), name=f"child {self.name}")

    def hold(self) -> None:
        """From now on do not start it again when it ends."""
        self._wanted.clear()

    def release(self) -> None:
        """End a hold: if the program has ended meanwhile, start it."""
        self._wanted.set()

    def retire(self) -> None:
        """This is its last life: when it ends it is neither started again nor missed."""
        self._stopping.set()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the program and the processes it started, if it runs."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    async def stop(self, grace: float) -> None:
        """Ask the program to end and kill it after `grace` seconds. It is not started again."""
        self._stopping.set()
        self.send(signal.SIGTERM)
        if self._task is None:
            return
        done, _ = await asyncio.wait([self._task], timeout=grace)
        if not done:
            self.kill()
            await asyncio.wait([self._task])

    def kill(self) -> None:
        """End the program at once. It is not started again."""
        self._stopping.set()
        self.send(signal.SIGKILL)

    async def _keep_running(self) -> None:
        quick_deaths = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            pid, reason = await self._run_once()
            if self._stopping.is_set():
                return
            lived = time.monotonic() - started
            quick_deaths = quick_deaths + 1 if lived < QUICK_DEATH else 1
            pause = max(self.command.restart_delay, restart_pause(quick_deaths))
            held = not self._wanted.is_set()
            self._observer.died(Death(self.name, pid, reason, None if held else pause))
            await self._unless_stopping(asyncio.sleep(pause))
            await self._unless_stopping(self._wanted.wait())

    async def _run_once(self) -> tuple[int | None, str]:
        """Start the program and wait for its end: its process id and how it ended."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self.command.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env={**os.environ, **self.command.environment},
                # In a group of its own a Ctrl-C in the terminal does not reach it: this process
                # decides who ends when.
                process_group=0,
                preexec_fn=_die_with(os.getpid()),
            )
        except OSError as error:
            return None, f"cannot be started: {error.strerror or error}"
        self.pid = process.pid
        self.starts += 1
        if self._stopping.is_set():
            self.send(signal.SIGTERM)  # told to stop while it was being started
        self._observer.started(self.name, process.pid, self.starts)
        assert process.stdout is not None
        reading = asyncio.create_task(self._read_lines(process.stdout))
        try:
            code = await process.wait()
        finally:
            # What the program started belongs to it and ends with it.
            self.send(signal.SIGKILL)
            self.pid = None
        await asyncio.wait([reading], timeout=1.0)
        reading.cancel()
        return process.pid, describe_exit(code)

    async def _read_lines(self, output: asyncio.StreamReader) -> None:
        buffered = b""
        while chunk := await output.read(65_536):
            *lines, buffered = (buffered + chunk).split(b"\n")
            if len(buffered) > _LONGEST_LINE:
                lines.append(buffered)
                buffered = b""
            for line in lines:
                self._say(line)
        self._say(buffered)

    def _say(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip()
        if text:
            self._observer.said(self.name, text)

    async def _unless_stopping(self, waiting: Awaitable[object]) -> None:
        """Wait for something, or until the child is told to stop."""
        waits = [asyncio.ensure_future(waiting), asyncio.ensure_future(self._stopping.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


def describe_exit(code: int) -> str:
    """How a process ended, for people."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def _die_with(parent: int) -> Callable[[], None]:
    """What the child does before its program: have the kernel kill it when its parent ends, and not
    die of a SIGHUP that comes before it knows what that is for."""

    def prepare() -> None:
        _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # the parent ended before the kernel was told
            os._exit(1)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    return prepare
