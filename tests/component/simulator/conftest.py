"""Simulated servers as real processes on real ports."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

SOURCE = Path(__file__).parents[3] / "operator"
START_S = 15.0
CLIENT_OPTIONS: dict[str, Any] = {"api_key": "none", "max_retries": 0, "timeout": 10.0}
# No test speaks TLS; loading certificates for each client takes longer than most tests.


class Simulator:
    """One server process."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log
        self.port = 0
        self._clients: list[openai.OpenAI] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_until_ready(self) -> Simulator:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            found = re.search(r"on http://127\.0\.0\.1:(\d+)", self.log.read_text())
            if found:
                self.port = int(found[1])
                return self
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        raise AssertionError(f"not ready: {self.log.read_text()}")

    def client(self, **options: Any) -> openai.OpenAI:
        """A client that never retries; it is closed with the server or after the test."""
        client = openai.OpenAI(
            base_url=f"{self.url}/v1",
            http_client=openai.DefaultHttpxClient(verify=False),
            **{**CLIENT_OPTIONS, **options},
        )
        self._clients.append(client)
        return client

    def async_client(self, **options: Any) -> openai.AsyncOpenAI:
        """A client for the test to close."""
        return openai.AsyncOpenAI(
            base_url=f"{self.url}/v1",
            http_client=openai.DefaultAsyncHttpxClient(verify=False),
            **{**CLIENT_OPTIONS, **options},
        )

    def close_clients(self) -> None:
        while self._clients:
            self._clients.pop().close()

    def fault(self, **plan: object) -> dict[str, Any]:
        answer = httpx.post(f"{self.url}/_simulate", json=plan, verify=False)
        assert answer.status_code == 200, answer.text
        state: dict[str, Any] = answer.json()
        return state

    def requests(self, last: int = 1000) -> list[dict[str, Any]]:
        answer = httpx.get(f"{self.url}/_simulate/requests", params={"last": last}, verify=False)
        requests: list[dict[str, Any]] = answer.json()["requests"]
        return requests

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that carry these labels."""
        total, seen = 0.0, False
        for line in httpx.get(f"{self.url}/metrics", verify=False).text.splitlines():
            match = re.match(r"([a-zA-Z_:]+)\{(.*)\} (\S+)$", line)
            if match and match[1] == name:
                have = dict(re.findall(r'(\w+)="([^"]*)"', match[2]))
                if labels.items() <= have.items():
                    total, seen = total + float(match[3]), True
        assert seen, f"{name} {labels} is not among the metrics"
        return total

    def wait_for(self, name: str, value: float) -> None:
        """Return once this metric has this value."""
        deadline = time.monotonic() + 5
        while self.metric(name) != value:
            assert time.monotonic() < deadline, f"{name} is {self.metric(name)}, not {value}"
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGKILL) -> None:
        self.close_clients()
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(timeout=10)


@pytest.fixture(scope="session")
def launch(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Simulator]]:
    """Starts a server with these arguments and returns at once."""
    running: list[Simulator] = []

    def launch_one(*arguments: str, **environment: str) -> Simulator:
        log = tmp_path_factory.mktemp("simulator") / "log"
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "modelrouter.standalone.simulator", *arguments],
                stderr=stderr,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": str(SOURCE), **environment},
            )
        simulator = Simulator(process, log)
        running.append(simulator)
        return simulator

    yield launch_one
    for simulator in running:
        simulator.stop()


@pytest.fixture
def start(launch: Callable[..., Simulator]) -> Iterator[Callable[..., Simulator]]:
    """Starts a server for one test and waits until it listens."""
    mine: list[Simulator] = []

    def start_one(*arguments: str, **environment: str) -> Simulator:
        simulator = launch("--model", "m", "--port", "0", *arguments, **environment)
        mine.append(simulator)
        return simulator.wait_until_ready()

    yield start_one
    for simulator in mine:
        simulator.stop()


@pytest.fixture(scope="session")
def shared(launch: Callable[..., Simulator]) -> Simulator:
    return launch(
        "--model", "m", "--port", "0", "--first-token", "0", "--per-token", "0", "--name", "one"
    ).wait_until_ready()


@pytest.fixture
def simulator(shared: Simulator) -> Iterator[Simulator]:
    """A healthy server without latency, shared by the tests of the session."""
    shared.fault()
    httpx.delete(f"{shared.url}/_simulate/requests", verify=False)
    yield shared
    shared.close_clients()
    shared.fault()
