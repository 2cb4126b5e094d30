"""An agent and a real Envoy beside it, which run on a RouterConfig document.

Pools that scale exist only there: the operator writes it, and here a test does. A pool with no
address is at zero; the test gives it one when its server is up.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import openai

from component.router.processes import ask, eventually, launch, wait_until
from component.router.rig import Router
from component.router.simulators import Simulator
from modelrouter.api.router_config import RouterConfig
from modelrouter.files import replace_file
from modelrouter.plan.envoy_flags import ENVOY_FLAGS
from modelrouter.standalone.envoy_binary import find_envoy
from modelrouter.standalone.ports import free_port

EJECTION = {"consecutive_errors": 5, "base_ejection_time_ms": 5_000, "max_ejection_percent": 50}
PROBE = {
    "path": "/health",
    "interval_ms": 500,
    "timeout_ms": 2_000,
    "unhealthy_threshold": 2,
    "healthy_threshold": 1,
}
CHAT = "/v1/chat/completions"
HELLO: list[Any] = [{"role": "user", "content": "Hello!"}]


def pool(*servers: Simulator, model: str = "acme/late", **fields: Any) -> dict[str, Any]:
    """A pool of these servers."""
    addresses = [server.address for server in servers]
    more = {"model": model, "ejection": EJECTION, "probe": PROBE, **fields}
    return {"addresses": addresses, **more}


def scaled(*servers: Simulator, **scaling: Any) -> dict[str, Any]:
    """A pool that scales from zero, and that has these servers now."""
    fields = {
        name: scaling.pop(name) for name in ("model", "max_concurrent_requests") if name in scaling
    }
    return pool(*servers, scaling={"from_zero": True, **scaling}, **fields)


def route(*pools: str, model: str = "chat", **fields: Any) -> dict[str, Any]:
    """A route that tries pools in order."""
    content = {
        "models": [model],
        "pools": list(pools),
        "rules": [
            {
                "name": "default",
                "targets": [{"pool": pools[0], "weight": 1}],
                "failover": list(pools[1:]),
            }
        ],
        "retry": {"attempts_per_pool": 2, "triggers": ["connect-failure", "reset", "5xx"]},
        "request_timeout_ms": 20_000,
        "idle_timeout_ms": 10_000,
        "fallthrough": {"pools": list(pools), "closed": False},
    }
    return content | fields


class Pair:
    """The agent and Envoy."""

    def __init__(self) -> None:
        self.options: Sequence[str] = ()
        """More options of the agent."""
        # Not pytest's directory: paths of Unix sockets may have 107 bytes at most.
        self.directory = Path(tempfile.mkdtemp(prefix="mr-"))
        self.runtime = self.directory / "run"
        self.runtime.mkdir()
        self.config = self.directory / "config.json"
        self.log = self.directory / "agent.log"
        self.port, self.admin_port, self._void_port = free_port(), free_port(), free_port()
        self._agent: subprocess.Popen[bytes] | None = None
        self._envoy: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in (self._agent, self._envoy):
            if process is not None:
                process.kill()
                process.wait()
        shutil.rmtree(self.directory)

    async def apply(self, pools: dict[str, Any], **routes: Any) -> None:
        """Bring a configuration into force; starts both processes the first time."""
        config = RouterConfig.model_validate(
            {"router": "default", "namespace": "ai", "pools": pools, "routes": routes}
        )
        document = config.document()
        replace_file(self.config, json.dumps(document).encode(), mode=0o600)
        if self._agent is None:
            await asyncio.to_thread(self.start_agent)
            command = [str(find_envoy()), "-c", str(self.runtime / "envoy.json")]
            command += ["--concurrency", "1", *ENVOY_FLAGS]
            self._envoy = launch(command, self.directory / "envoy.log")

        async def in_force() -> bool:
            version: str = (await self.configz())["version"]
            return version == document["version"]

        await eventually(in_force, within=20)
        await eventually(self._listens, within=20)
        await eventually(self.is_asked, within=20)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    async def is_asked(self) -> bool:
        """Whether Envoy asks the agent: it takes a moment to see that there is one (again)."""
        async with self.http() as http:
            await http.post(CHAT, json={"model": "unknown"})
        return await self.metric("modelrouter_refusals_total", error="model_not_found") > 0

    def start_agent(self) -> None:
        """The agent, also again after `kill_agent`."""
        command = [sys.executable, "-m", "modelrouter", "router", "--config", str(self.config)]
        command += ["--runtime-dir", str(self.runtime), "--drain-seconds", "3"]
        command += ["--listen", f"127.0.0.1:{self.port}", "--admin", f"127.0.0.1:{self.admin_port}"]
        command += ["--void-port", str(self._void_port), "--log-format", "json"]
        command += self.options
        before = self.log.read_text().count("agent is up") if self.log.exists() else 0
        self._agent = launch(command, self.log)
        wait_until(
            lambda: self.log.read_text().count("agent is up") > before, self._agent, self.log
        )

    def kill_agent(self) -> None:
        assert self._agent is not None
        self._agent.kill()
        self._agent.wait()

    def terminate_agent(self) -> None:
        assert self._agent is not None
        self._agent.send_signal(signal.SIGTERM)

    async def configz(self) -> dict[str, Any]:
        """The version in force and the counts of pools."""
        answer: dict[str, Any] = await ask(self.admin_port, "GET", "/configz")
        return answer

    async def counts(self, name: str) -> dict[str, int]:
        """What the operator is told of a pool."""
        found: dict[str, int] = (await self.configz())["pools"].get(name, {})
        return found

    async def waiting(self, number: int, name: str = "late") -> None:
        """Return once so many requests wait."""

        async def there() -> bool:
            return await self.metric("modelrouter_pool_waiting", pool=name) == number

        await eventually(there, within=20)

    metric = Router.metric

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, **options: Any) -> openai.AsyncOpenAI:
        """The official client, as an application makes it; it never retries unless told to."""
        defaults: dict[str, Any] = {"api_key": "caller-key", "max_retries": 0, "timeout": 60.0}
        return openai.AsyncOpenAI(
            base_url=f"{self.url}/v1",
            http_client=openai.DefaultAsyncHttpxClient(
                verify=False, trust_env=False, limits=httpx.Limits(max_connections=None)
            ),
            **{**defaults, **options},
        )

    def http(self, **options: Any) -> httpx.AsyncClient:
        """A plain HTTP client."""
        defaults: dict[str, Any] = {"base_url": self.url, "timeout": 60.0}
        return httpx.AsyncClient(verify=False, trust_env=False, **{**defaults, **options})
