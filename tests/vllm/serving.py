"""A model server as a process on this machine: the real vLLM, or the simulated one."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cluster.kubernetes.processes import end_with_parent
from vllm.environment import RealVllm
from vllm.overlay import variables

START_SECONDS = 1200.0
"""On a machine that is busy with other things. On an idle one it takes 20 s."""
NICE = ("nice", "-n", "15")
"""In front of what computes for long: others use this machine, too."""


@dataclass(frozen=True, slots=True)
class ModelServer:
    """One that runs."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    started: float
    """Seconds until it was ready."""

    def connection(self, timeout: float = 60) -> http.client.HTTPConnection:
        """A connection to it."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def terminate(self) -> None:
        """SIGTERM, as a kubelet sends it."""
        self.process.send_signal(signal.SIGTERM)


@contextmanager
def serving_vllm(real: RealVllm, log: Path, *args: str) -> Iterator[ModelServer]:
    """The real one, which takes 20 s to start on an idle machine."""
    command = [*NICE, str(real.command), "serve", str(real.model)]
    with _running([*command, *args], variables(real), log) as server:
        yield server


@contextmanager
def serving_simulator(log: Path, *args: str) -> Iterator[ModelServer]:
    """The simulated one, with the same arguments."""
    command = [sys.executable, "-m", "modelrouter", "simulate", "serve", "tiny", *args]
    with _running(command, {}, log) as server:
        yield server


@contextmanager
def _running(command: Sequence[str], more: dict[str, str], log: Path) -> Iterator[ModelServer]:
    port = _free_port()
    # A package of these tests has vLLM's name, and must not be taken for it.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, f"--port={port}", "--host=127.0.0.1"],
            env=inherited | {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"} | more,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # so that its processes end with it
            preexec_fn=end_with_parent,
        )
        try:
            yield ModelServer(process, port, log, _await(process, port, log))
        finally:
            _end(process)


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> float:
    began = time.monotonic()
    while time.monotonic() < began + START_SECONDS:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as asking:
            try:
                asking.request("GET", "/health")
                if asking.getresponse().status == 200:
                    return time.monotonic() - began
            except OSError:
                time.sleep(0.1)
        assert process.poll() is None, f"it ended: {_tail(log)}"
    raise AssertionError(f"it was not ready in {START_SECONDS:.0f} s: {_tail(log)}")


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
