"""The programs of one cluster: started with a log each, stopped, ended with their parent."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cluster.kubernetes.problems import ClusterError

_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None).prctl


def end_with_parent() -> None:
    """In a child, before it executes: end when the parent does, even if that is killed.

    The kernel means the parent's thread: start children from one that lives on.
    """
    _prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)


class Processes:
    """Named programs out of one folder, with logs in another."""

    def __init__(self, programs: Path, logs: Path) -> None:
        self.programs = programs
        self.logs = logs
        self._commands: dict[str, list[str]] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, arguments: Sequence[object]) -> None:
        """Start a program that `start_again` can start with the same arguments."""
        self._commands[name] = [str(self.programs / name), *map(str, arguments)]
        self.start_again(name)

    def start_again(self, name: str) -> None:
        """Start a stopped program; one that runs is left alone."""
        if name in self._running:
            return
        environment = os.environ | {"PATH": f"{self.programs}:{os.environ['PATH']}"}
        with self._log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                self._command(name),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=end_with_parent,
            )

    def stop(self, name: str) -> None:
        """Kill a program: asked to end, kube-apiserver takes a minute while watches are open."""
        self._command(name)
        if process := self._running.pop(name, None):
            process.kill()
            process.wait()

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal, such as SIGSTOP and SIGCONT, to a program that runs."""
        self._command(name)
        if name not in self._running:
            raise ClusterError(f"{name} does not run")
        self._running[name].send_signal(number)

    def stop_all(self) -> None:
        """Kill everything, the youngest first: nothing here outlives the test."""
        for name in reversed(list(self._running)):
            self.stop(name)

    def check(self) -> None:
        """Raises ClusterError when a program has ended that nobody stopped."""
        for name, process in self._running.items():
            if process.poll() is not None:
                raise ClusterError(
                    f"{name} ended with {process.returncode}: {self._log(name)} ends with\n"
                    + last_lines(self._log(name))
                )

    def wait(self, what: str, holds: Callable[[], bool], seconds: float = 120) -> None:
        """Wait for something that these programs have to do."""
        deadline = time.monotonic() + seconds
        while not holds():
            self.check()
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"{what} was not ready in {seconds:.0f} s: see {self.logs}/*.log"
                )
            time.sleep(0.1)

    def _log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def _command(self, name: str) -> list[str]:
        if name not in self._commands:
            raise ClusterError(f"no program {name} here; there are {', '.join(self._commands)}")
        return self._commands[name]


def last_lines(log: Path, count: int = 8) -> str:
    """The end of a log, indented."""
    lines = log.read_text(errors="replace").splitlines()[-count:]
    return "\n".join(f"  {line}" for line in lines)
