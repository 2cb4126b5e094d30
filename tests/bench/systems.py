"""What is compared: each system is a running program, or none, with two ports for requests."""

from __future__ import annotations

import json
import re
import secrets
import sys
import tempfile
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import manifests
from bench.environments import Environment
from bench.envoys import answering_envoy, plain_envoy
from bench.processes import BenchError, Cpu, Program, module_environment
from modelrouter.standalone.ports import free_port

MODEL = "assistant"
STREAMED_MODEL = "assistant-streamed"
PLAIN, ROUTER, FASTAPI, FASTAPI_AIOHTTP, LITELLM = (
    "plain Envoy",
    "Model Router",
    "FastAPI + httpx",
    "FastAPI + aiohttp",
    "LiteLLM",
)
DIRECT = "direct"
_DECISIONS = re.compile(rb"^modelrouter_decision_duration_seconds_count (\S+)", re.MULTILINE)
CLIENT_KEY = f"sk-{secrets.token_hex(32)}"
"""What clients send. LiteLLM checks it, for it does not start without a key; nothing else does."""


@dataclass(frozen=True, slots=True)
class Backends:
    """Where the model servers are."""

    fixed: tuple[int, int]
    """Ports that answer at once: of the first pool and of the second."""
    streamed: tuple[int, int]
    """Ports that stream."""
    programs: tuple[Program, ...] = ()


@dataclass(frozen=True, slots=True)
class System:
    """One of the systems compared."""

    name: str
    port: int
    """Takes requests whose answers come at once."""
    streamed_port: int
    """Takes requests whose answers are streamed."""
    program: Program | None = None
    renames: bool = True
    """Whether it gives the model the name that the backend knows."""
    admin_port: int | None = None
    """Where the router's agent tells its figures."""

    def cpu(self) -> list[Cpu]:
        """CPU time of all its processes."""
        return self.program.cpu() if self.program else []

    def decisions(self) -> int:
        """How often the agent has been asked since its start; 0 without an agent."""
        if self.admin_port is None:
            return 0
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/metrics") as answer:
            found = _DECISIONS.search(answer.read())
        return int(float(found[1])) if found else 0


@dataclass(slots=True)
class Field:
    """All that is compared."""

    directory: Path
    backends: Backends
    others: list[System] = field(default_factory=list)
    """Those that run all the time."""
    skipped: list[str] = field(default_factory=list)
    """One line for each system that is left out."""

    @contextmanager
    def turn(self) -> Iterator[list[System]]:
        """All systems. Those with an Envoy are started anew for each turn: what one costs depends
        by some percent on where its memory happens to be."""
        with (
            tempfile.TemporaryDirectory(dir=self.directory) as name,
            plain(self.backends, Path(name)) as envoy,
            router(self.backends, Path(name)) as ours,
        ):
            yield [direct(self.backends), envoy, ours, *self.others]

    def programs(self, systems: Iterable[System]) -> Iterator[Program]:
        """Everything that was started."""
        yield from self.backends.programs
        for system in systems:
            if system.program:
                yield system.program


@contextmanager
def backends(directory: Path, events: int, pause_ms: float) -> Iterator[Backends]:
    """The model servers: Envoy with a fixed answer, and paced streams."""
    fixed, streamed = (free_port(), free_port()), (free_port(), free_port())
    with answering_envoy(fixed, directory) as envoy:
        for port in fixed:
            envoy.wait_until(lambda port=port: answers(port), "the backend's start")  # type: ignore[misc]
        command = [sys.executable, "-m", "bench.paced", str(events), str(pause_ms)]
        streaming = Program(
            "streams",
            [*command, *map(str, streamed)],
            directory / "streams.log",
            module_environment(),
        )
        with streaming:
            for port in streamed:
                streaming.wait_until(lambda port=port: answers(port), "the start")  # type: ignore[misc]
            yield Backends(fixed, streamed, (envoy, streaming))


def direct(to: Backends) -> System:
    """No proxy at all."""
    return System(DIRECT, to.fixed[0], to.streamed[0], renames=False)


@contextmanager
def plain(to: Backends, directory: Path) -> Iterator[System]:
    """Envoy as a proxy that does nothing else."""
    port, streamed = free_port(), free_port()
    ports = {port: to.fixed[0], streamed: to.streamed[0]}
    with plain_envoy(ports, directory) as program:
        program.wait_until(lambda: answers(port, "/v1/models"), "its start")
        yield System(PLAIN, port, streamed, program, renames=False)


@contextmanager
def router(to: Backends, directory: Path) -> Iterator[System]:
    """This project's router, from manifests."""
    folder = directory / "manifests"
    folder.mkdir()
    manifests.write(folder, {MODEL: to.fixed, STREAMED_MODEL: to.streamed})
    port, admin_port = free_port(), free_port()
    command = [
        *(sys.executable, "-m", "modelrouter", "run", "-f", str(folder), "--plain"),
        *("--port", str(port), "--admin-port", str(admin_port)),
        *("--envoy-concurrency", "1"),
    ]
    with Program("router", command, directory / "router.log") as program:
        program.wait_until(lambda: answers(port, "/v1/models"), "its start")
        yield System(ROUTER, port, port, program, admin_port=admin_port)


@contextmanager
def fastapi(
    to: Backends, directory: Path, environment: Environment, client: str
) -> Iterator[System]:
    """A proxy as it is usually written in Python."""
    name = FASTAPI if client == "httpx" else FASTAPI_AIOHTTP
    port = free_port()
    models = {
        MODEL: f"http://127.0.0.1:{to.fixed[0]}",
        STREAMED_MODEL: f"http://127.0.0.1:{to.streamed[0]}",
    }
    settings = {
        "BENCH_CLIENT": client,
        "BENCH_MODELS": json.dumps(models),
        "BENCH_BACKEND_MODEL": manifests.BACKEND_MODEL,
        "BENCH_KEY": manifests.KEY,
    }
    command = [
        *(str(environment.python), "-m", "uvicorn", "fastapi_proxy:app", "--no-access-log"),
        *("--app-dir", str(Path(__file__).parent), "--host", "127.0.0.1", "--port", str(port)),
        *("--log-level", "warning"),
    ]
    with Program(name, command, directory / f"fastapi-{client}.log", settings) as program:
        program.wait_until(lambda: answers(port, "/health"), "its start")
        yield System(name, port, port, program)


@contextmanager
def litellm(to: Backends, directory: Path, environment: Environment) -> Iterator[System]:
    """LiteLLM's proxy."""
    port = free_port()
    models = [
        {
            "model_name": name,
            "litellm_params": {
                "model": f"openai/{manifests.BACKEND_MODEL}",
                "api_base": f"http://127.0.0.1:{target}/v1",
                "api_key": manifests.KEY,
            },
        }
        for name, target in ((MODEL, to.fixed[0]), (STREAMED_MODEL, to.streamed[0]))
    ]
    config = directory / "litellm.json"
    config.write_text(json.dumps({"model_list": models, "litellm_settings": {"telemetry": False}}))
    settings = {
        "LITELLM_MASTER_KEY": CLIENT_KEY,
        # Nothing here talks to the internet.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        "HF_HUB_OFFLINE": "1",
        "NO_PROXY": "*",
    }
    command = [
        *(str(environment.program("litellm")), "--config", str(config), "--host", "127.0.0.1"),
        *("--port", str(port), "--num_workers", "1", "--telemetry", "False"),
    ]
    with Program(LITELLM, command, directory / "litellm.log", settings) as program:
        program.wait_until(lambda: answers(port, "/health/liveliness"), "its start")
        yield System(LITELLM, port, port, program)


def check(systems: Sequence[System], bodies: dict[str, Path]) -> None:
    """Whether every system does what it is measured for, before it is measured."""
    for system in systems:
        for what, port in (("fixed", system.port), ("streamed", system.streamed_port)):
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/v1/chat/completions",
                bodies[what].read_bytes(),
                {"content-type": "application/json", "authorization": f"Bearer {CLIENT_KEY}"},
            )
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    text = answer.read().decode()
            except OSError as error:
                raise BenchError(f"{system.name}: a {what} request failed: {error}") from None
            wanted = manifests.BACKEND_MODEL if system.renames else STREAMED_MODEL
            if what == "streamed" and not any(
                mark in text for mark in (f'"model": "{wanted}"', f'"model":"{wanted}"')
            ):
                # LiteLLM gives the client's name back; whether it renames shows at the backend.
                if system.name == LITELLM:
                    continue
                raise BenchError(f"{system.name}: the backend was not asked for model {wanted}")


def answers(port: int, path: str = "/health") -> bool:
    """Whether a server is there."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
