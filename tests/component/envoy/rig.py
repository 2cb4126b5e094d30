"""A real Envoy with everything around it that tests steer: backends, agent, xDS, access log."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

from component.envoy.backends import Backend, Behaviour, Connection, Request, Server, served_by
from modelrouter.api.router_config import RouterConfig
from modelrouter.plan.envoy_flags import ENVOY_FLAGS
from modelrouter.router.accesslog.pipe import LogPipe
from modelrouter.router.accesslog.record import RequestRecord
from modelrouter.router.discovery.server import discovery_handler, serve
from modelrouter.router.discovery.store import Store
from modelrouter.router.envoy.bootstrap import bootstrap
from modelrouter.router.envoy.foreseen import plan
from modelrouter.router.envoy.log_lines import read_line
from modelrouter.router.envoy.plans import Plan, routing_headers
from modelrouter.router.envoy.resources import EnvoyResources, ResourceBuilder
from modelrouter.router.envoy.settings import EnvoySettings
from modelrouter.standalone.envoy_binary import find_envoy
from modelrouter.standalone.ports import free_port

T = TypeVar("T")
CHAT = "/v1/chat/completions"


@dataclass(frozen=True)
class Answer:
    """What a client got."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        """The error as OpenAI's clients read it, checked for its shape."""
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}, error
        assert self.headers["content-type"].startswith("application/json")
        return error


class Rig:
    """Envoy and its surroundings. Servers live in a thread of their own."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.settings = EnvoySettings(
            **settings,
            directory=directory,
            host="127.0.0.1",
            port=free_port(),
            void_port=free_port(),
            max_body_bytes=4 * 1024 * 1024,
        )
        self.records: list[RequestRecord] = []
        self.agent = Server(self.decide)
        self.config: RouterConfig | None = None
        self.resources = EnvoyResources()
        self.extra_headers = ""
        self.known: set[str] | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._backends: list[Backend] = []
        self._version = 0

    # Life

    @contextmanager
    def running(self) -> Iterator[Rig]:
        self._thread.start()
        envoy: subprocess.Popen[bytes] | None = None
        log = self.settings.directory / "envoy.log"
        try:
            self.wait(self._start())
            config = self.settings.directory / "envoy.json"
            config.write_text(json.dumps(bootstrap(self.settings)))
            command = [str(find_envoy()), "-c", str(config), "--log-path", str(log)]
            command += ["--concurrency", "1", *ENVOY_FLAGS]
            envoy = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            yield self
        finally:
            if envoy is not None:
                envoy.kill()
                envoy.wait()
            self.wait(self._stop())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def stat(self, name: str) -> int:
        """A counter of Envoy."""
        transport = httpx.HTTPTransport(uds=str(self.settings.admin_socket))
        with httpx.Client(transport=transport, base_url="http://envoy") as client:
            text = client.get("/stats", params={"filter": f"^{re.escape(name)}$"}).text
        return int(text.partition(": ")[2] or 0)

    @property
    def log(self) -> str:
        """What Envoy complained of."""
        file = self.settings.directory / "envoy.log"
        return file.read_text() if file.exists() else ""

    def wait(self, coroutine: Coroutine[Any, Any, T], timeout: float = 10) -> T:
        future: Future[T] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return future.result(timeout)

    async def _start(self) -> None:
        self.store = Store()
        self.builder = ResourceBuilder(self.settings)
        self._pipe = LogPipe(Path(self.settings.log_pipe), read_line, self.records.append)
        self._pipe.open()
        handlers = (discovery_handler(self.store),)
        self._grpc = await serve(Path(self.settings.control_socket), handlers)
        await self._start_agent()

    async def _start_agent(self) -> None:
        loop = asyncio.get_running_loop()
        self.agent.listening = await loop.create_unix_server(
            self.agent.connect, self.settings.decision_socket
        )

    async def _stop_agent(self) -> None:
        await self.agent.close()
        with suppress(FileNotFoundError):
            Path(self.settings.decision_socket).unlink()

    async def _stop(self) -> None:
        await self._stop_agent()
        for backend in self._backends:
            await backend.close()
        await self._grpc.stop(None)
        self._pipe.close()

    def record(self, request_id: str) -> RequestRecord:
        """The access log entry of a request."""
        return self.until(
            lambda: next((r for r in self.records if r.request_id == request_id), None)
        )

    @staticmethod
    def until(find: Callable[[], T | None], timeout: float = 5) -> T:
        """Wait until there is something."""
        deadline = time.monotonic() + timeout
        while (found := find()) is None or found is False:
            assert time.monotonic() < deadline, "it never came"
            time.sleep(0.01)
        return found

    # Surroundings

    def backend(self, name: str, behaviour: Behaviour | None = None) -> Backend:
        """A new backend."""
        backend = Backend(behaviour or served_by(name), name=name, port=free_port())
        self._backends.append(backend)
        self.start(backend)
        return backend

    def start(self, backend: Backend) -> None:
        """Listen, again if need be."""

        async def listen() -> None:
            backend.listening = await asyncio.get_running_loop().create_server(
                backend.connect, "127.0.0.1", backend.port
            )

        self.wait(listen())

    def stop(self, backend: Backend) -> None:
        """Refuse connections from now on."""
        self.wait(backend.close())

    def kill_agent(self) -> None:
        self.wait(self._stop_agent())

    def restart_agent(self) -> None:
        self.wait(self._start_agent())

    def decide(self, connection: Connection, request: Request) -> None:
        """A stub: the first rule of the model's route."""
        assert self.config is not None
        try:
            body = json.loads(request.body)
            name, wanted = next(
                (name, route)
                for name, route in self.config.routes.items()
                if body["model"] in route.models
            )
        except (ValueError, KeyError, TypeError, StopIteration):
            error = {"message": "no", "type": "invalid_request_error", "param": None, "code": "no"}
            connection.answer(404, json.dumps({"error": error}).encode(), {"x-mr-route": ""})
            return
        rule = wanted.rules[0]
        chain = [
            pool
            for pool in (rule.targets[0].pool, *rule.failover)
            for _ in range(wanted.retry.attempts_per_pool)
        ]
        chosen = plan(tuple(chain), wanted, streamed=body.get("stream") is True)
        connection.transport.write(self.passing(chosen, name))

    def passing(self, chosen: Plan, name: str) -> bytes:
        """The agent's answer that lets a request pass."""
        known = self.resources.plans if self.known is None else self.known
        mirrored = "x-mr-mirror:" in self.extra_headers
        named = chosen._replace(route=name, reason="rule:default", mirrored=mirrored)
        return (
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"
            f"{routing_headers(named, known)}{self.extra_headers}\r\n"
        ).encode()

    def apply(
        self,
        pools: dict[str, Any],
        routes: dict[str, Any],
        secrets: dict[str, dict[str, str]] | None = None,
    ) -> None:
        """Bring a configuration into force."""
        self.config = RouterConfig.model_validate(
            {"router": "default", "namespace": "test", "pools": pools, "routes": routes}
        )
        self.agent.behaviour = self.decide
        self.agent.requests.clear()
        self.extra_headers = ""
        self.known = None
        self._version += 1

        async def push() -> bool:
            assert self.config is not None
            wanted = await self.builder.build(self.config, secrets or {})
            version = str(self._version)
            self.store.update(self.resources.joined_with(wanted).as_set(), version)
            taken = await self.store.acknowledged(version, timeout=8)
            self.resources = wanted
            self.store.update(wanted.as_set(), version + "-")
            return taken and await self.store.acknowledged(version + "-", timeout=8)

        assert self.wait(push(), 20), self.store.rejections
        self.until(self._listens)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.settings.port)) == 0

    # Clients

    def request(
        self,
        method: str = "POST",
        path: str = CHAT,
        body: bytes | str | dict[str, Any] | None = None,
        **headers: str,
    ) -> Answer:
        """One request on a connection of its own. `_` in names of headers stands for `-`."""
        if isinstance(body, dict):
            body = json.dumps(body)
        connection = http.client.HTTPConnection("127.0.0.1", self.settings.port, timeout=20)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body, {"content-type": "application/json", **names})
            response = connection.getresponse()
            got = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, got, response.read())
        finally:
            connection.close()

    def chat(self, model: str = "m", **headers: str) -> Answer:
        """A small chat request."""
        return self.request(body={"model": model, "messages": []}, **headers)

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.settings.port), timeout=10)
