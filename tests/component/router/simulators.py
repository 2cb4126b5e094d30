"""Simulated model servers as processes, and what they received."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from component.router.processes import ask, launch, wait_until
from modelrouter.standalone.ports import free_port


@dataclass(frozen=True, slots=True)
class Received:
    """One request as a simulated server got it."""

    number: int
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    """In the order and the spelling of the wire."""
    body: bytes
    started: float
    ended: float | None
    status: int | None
    client_gone: bool

    def header(self, name: str) -> str | None:
        """The value of a header, none if it did not come."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) <= 1, f"{name} came {len(values)} times"
        return values[0] if values else None

    @property
    def names(self) -> set[str]:
        """Names of all headers, in lower case."""
        return {name.lower() for name, _ in self.headers}

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


def _received(entry: dict[str, Any]) -> Received:
    headers = tuple((name, value) for name, value in entry.pop("headers"))
    return Received(headers=headers, body=b64decode(entry.pop("body")), **entry)


class Simulator:
    """A simulated model server."""

    def __init__(self, directory: Path, name: str, options: Sequence[str], model: str = "") -> None:
        self.name = name
        self.model = model or f"acme/{name}"
        self.port = free_port()
        self.log = directory / f"{name}-{self.port}.log"
        self._options = [option.replace("{name}", name) for option in options]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def launch(self) -> Self:
        """Start the process, also again after `kill`; does not wait."""
        command = [sys.executable, "-m", "modelrouter.standalone.simulator"]
        command += ["--model", self.model, "--port", str(self.port), "--name", self.name]
        self._process = launch([*command, *self._options], self.log)
        return self

    def wait(self) -> Self:
        """Return once it listens."""
        wanted = f"on {self.url}"
        wait_until(lambda: wanted in self.log.read_text(), self._process, self.log)
        return self

    def start(self) -> Self:
        """Start it (again) and return once it listens."""
        self.log.write_text("")
        return self.launch().wait()

    def kill(self) -> None:
        """SIGKILL, as by the out-of-memory killer."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """SIGSTOP: the kernel still accepts connections, nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()

    async def fault(self, **plan: object) -> None:
        """What goes wrong from now on, as `POST /_simulate` takes it; nothing given: nothing."""
        await ask(self.port, "POST", "/_simulate", plan)

    async def state(self) -> dict[str, Any]:
        """`GET /_simulate`."""
        state: dict[str, Any] = await ask(self.port, "GET", "/_simulate")
        return state

    async def received(self, last: int = 1000) -> list[Received]:
        """Up to so many of the newest requests, oldest first."""
        answer = await ask(self.port, "GET", f"/_simulate/requests?last={last}")
        return [_received(entry) for entry in answer["requests"]]

    async def count(self) -> int:
        """Requests since the start or the last `forget`."""
        answer = await ask(self.port, "GET", "/_simulate/requests?last=0")
        return int(answer["total"])

    async def forget(self) -> None:
        """Empty the journal."""
        await ask(self.port, "DELETE", "/_simulate/requests")
