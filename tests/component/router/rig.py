"""A real router in front of simulated model servers, each a process of its own.

```python
with Rig(tmp_path) as rig:                    # or the fixture `rig`, one per module
    first, second = rig.simulators("first", "second")
    router = rig.router(pool("first", first), pool("second", second),
                        route("chat", pools=["first", "second"]))
    answer = await router.client().chat.completions.create(model="chat", …)
    request, = await first.received(last=1)   # exactly as it came in
    await first.fault(mode="hang")            # everything of `/_simulate`
    first.kill()
    await router.apply(…)                     # other manifests, live
```

Starting is synchronous, so that fixtures of any scope can do it; within a test that has traffic
running, use `await asyncio.to_thread(rig.router, …)`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import openai
import yaml

from component.router.manifests import Manifest, pool, provider, route, secret
from component.router.processes import ask, eventually, launch, wait_until
from component.router.simulators import Received, Simulator
from modelrouter.router.envoy_admin import EnvoyAdmin
from modelrouter.standalone.ports import free_port

__all__ = [
    "Received",
    "Rig",
    "Router",
    "Simulator",
    "eventually",
    "pool",
    "provider",
    "route",
    "secret",
]


class Router:
    """`modelrouter run`: agent, Envoy and their supervisor."""

    def __init__(self, directory: Path, manifests: Sequence[Manifest], options: Sequence[str]):
        directory.mkdir(parents=True)
        self.manifests = directory / "manifests"
        self.manifests.mkdir()
        self.log = directory / "router.log"
        self.state_dir = directory / "state"
        self.port = 0
        self.admin_port = 0
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.write(*manifests)

    @property
    def url(self) -> str:
        """Where clients go, without `/v1`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin(self) -> str:
        """The agent's own HTTP server."""
        return f"http://127.0.0.1:{self.admin_port}"

    def write(self, *manifests: Manifest) -> None:
        """Replace the manifests; the router follows."""
        documents = [
            text if isinstance(text, str) else yaml.safe_dump(dict(text)) for text in manifests
        ]
        draft = self.manifests.parent / "draft"
        draft.write_text("---\n".join(documents))
        draft.replace(self.manifests / "all.yaml")

    def start(self) -> Self:
        """Start it and return once it is ready."""
        self.port, self.admin_port = free_port(), free_port()
        command = [sys.executable, "-m", "modelrouter", "run", "-f", str(self.manifests)]
        command += ["--plain", "--port", str(self.port), "--admin-port", str(self.admin_port)]
        command += ["--state-dir", str(self.state_dir), "--envoy-concurrency", "1"]
        self._process = launch([*command, *self._options], self.log)
        ready = f"ready: {self.url}"
        wait_until(lambda: ready in self.log.read_text(), self._process, self.log)
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def wait(self, seconds: float) -> int:
        """Wait for its end; the exit status."""
        assert self._process is not None
        return self._process.wait(seconds)

    def stop(self) -> None:
        """Two signals: drain, and if that takes long, end at once."""
        process = self._process
        if process is None:
            return
        for number, patience in ((signal.SIGTERM, 3.0), (signal.SIGTERM, 5.0)):
            if process.poll() is None:
                process.send_signal(number)
                try:
                    process.wait(patience)
                except subprocess.TimeoutExpired:
                    continue
        if process.poll() is None:
            for pid in (*self.children().values(), process.pid):
                os.kill(pid, signal.SIGKILL)
            process.wait(5)

    def children(self) -> dict[str, int]:
        """Process ids of `agent` and `envoy`, those that are alive."""
        assert self._process is not None
        found: dict[str, int] = {}
        pid = self._process.pid
        listing = Path(f"/proc/{pid}/task").glob("*/children")
        for child in {pid for path in listing for pid in path.read_text().split()}:
            command = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            if b"router" in command:
                found["agent"] = int(child)
            elif command[0].endswith(b"/envoy"):
                found["envoy"] = int(child)
        return found

    def client(self, **options: Any) -> openai.AsyncOpenAI:
        """The official client, as an application makes it; it never retries unless told to."""
        defaults: dict[str, Any] = {"api_key": "caller-key", "max_retries": 0, "timeout": 20.0}
        return openai.AsyncOpenAI(
            base_url=f"{self.url}/v1",
            http_client=openai.DefaultAsyncHttpxClient(verify=False, trust_env=False),
            **{**defaults, **options},
        )

    def http(self, **options: Any) -> httpx.AsyncClient:
        """A plain HTTP client, for requests that the official one would not send."""
        defaults: dict[str, Any] = {"base_url": self.url, "timeout": 20.0}
        return httpx.AsyncClient(verify=False, trust_env=False, **{**defaults, **options})

    async def apply(self, *manifests: Manifest) -> str:
        """Replace the manifests and return the new version once Envoy has acknowledged it."""
        before = await self.version()
        self.write(*manifests)
        path = f"/configz?after={before}&timeout=10"
        version: str = (await ask(self.admin_port, "GET", path))["version"]
        assert version != before, self.log.read_text()[-2000:]
        return version

    async def version(self) -> str:
        """The version that Envoy has acknowledged."""
        version: str = (await ask(self.admin_port, "GET", "/configz"))["version"]
        return version

    async def readiness(self) -> dict[str, Any]:
        """`/readyz`, whatever its status."""
        answer: dict[str, Any] = await ask(self.admin_port, "GET", "/readyz", ok=(200, 503))
        return answer

    async def view(self) -> dict[str, Any]:
        """`/routez`."""
        answer: dict[str, Any] = await ask(self.admin_port, "GET", "/routez")
        return answer

    async def healthy_in_envoy(self) -> dict[str, int]:
        """Endpoints by pool that Envoy sends requests to at this moment; the agent learns of them
        once a second."""
        envoy = self.children().get("envoy")
        if envoy is None:
            return {}
        command = Path(f"/proc/{envoy}/cmdline").read_bytes().split(b"\0")
        folder = Path(os.fsdecode(command[command.index(b"-c") + 1])).parent
        async with EnvoyAdmin(folder / "admin.sock") as admin:
            return {name: pool.ready for name, pool in (await admin.memberships()).items()}

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that carry these labels; 0 without any."""
        text: str = await ask(self.admin_port, "GET", "/metrics")
        total = 0.0
        for line in text.splitlines():
            match = re.match(r"([a-zA-Z_:]+)(?:\{(.*)\})? (\S+)$", line)
            if match and match[1] == name:
                have = dict(re.findall(r'(\w+)="([^"]*)"', match[2] or ""))
                total += float(match[3]) if labels.items() <= have.items() else 0.0
        return total


class Rig:
    """Everything that was started; as a context manager it ends all of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._running: list[Simulator | Router] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._running:
            self._running.pop().stop()

    def simulators(
        self, *names: str, model: str = "", options: Sequence[str] = (), wait: bool = True
    ) -> list[Simulator]:
        """One server per name, with answers at once unless the options say otherwise.

        Each serves the model `acme/NAME`, or the one that is given. Without `wait` they are still
        starting.
        """
        pace = ("--first-token", "0", "--per-token", "0")
        servers = [Simulator(self.directory, name, (*pace, *options), model) for name in names]
        self._running += servers
        for server in servers:
            server.launch()
        return [server.wait() for server in servers] if wait else servers

    def simulator(self, name: str, *, model: str = "", options: Sequence[str] = ()) -> Simulator:
        """One server."""
        return self.simulators(name, model=model, options=options)[0]

    def router(self, *manifests: Manifest, options: Sequence[str] = ()) -> Router:
        """A router that is ready. Manifests are YAML texts or what `pool` and `route` return."""
        number = sum(isinstance(each, Router) for each in self._running)
        router = Router(self.directory / f"router-{number}", manifests, options)
        self._running.append(router)
        return router.start()
