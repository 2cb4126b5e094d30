"""A router's pod without a pod: the agent and a real Envoy as processes of this machine.

The agent reaches the cluster by a service account with the rights that a router has there, and no
others. Endpoints are addresses that nobody has: nothing is ever sent to them.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

from cluster.kubernetes.access import Kubernetes
from component.router.processes import ask, eventually, launch, wait_until
from modelrouter.api.router_config import PoolConfig, RouteConfig, RouterConfig
from modelrouter.plan.children import (
    plan_role,
    plan_role_binding,
    plan_service_account,
    plan_shard,
    secret_names,
)
from modelrouter.plan.envoy_flags import ENVOY_FLAGS
from modelrouter.plan.naming import child_name, shard_name
from modelrouter.plan.shards import entries, place, version, writes
from modelrouter.standalone.envoy_binary import find_envoy
from modelrouter.standalone.ports import free_port

ROUTER = "chat"
EJECTION = {"consecutive_errors": 5, "base_ejection_time_ms": 30_000, "max_ejection_percent": 50}


def pool(**fields: Any) -> PoolConfig:
    """A pool of a RouterConfig; without a source it follows the Service `models`."""
    if not fields.keys() & {"addresses", "upstream", "service"}:
        fields["service"] = {"name": "models", "port": "http"}
    return PoolConfig.model_validate({"model": "acme/model", "ejection": EJECTION} | fields)


def route(*pools: str, model: str = "chat", **fields: Any) -> RouteConfig:
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
        "retry": {"attempts_per_pool": 1, "triggers": ["connect-failure"]},
        "request_timeout_ms": 10_000,
        "idle_timeout_ms": 10_000,
        "fallthrough": {"pools": list(pools), "closed": False},
    }
    return RouteConfig.model_validate(content | fields)


def config(pools: Mapping[str, PoolConfig], routes: Mapping[str, RouteConfig]) -> RouterConfig:
    """A router's configuration."""
    return RouterConfig(router=ROUTER, namespace="", pools=dict(pools), routes=dict(routes))


def endpoint(address: str, *, ready: bool | None = True, pod: str = "") -> dict[str, Any]:
    """An endpoint of a slice."""
    found: dict[str, Any] = {"addresses": [address], "conditions": {}}
    if ready is not None:
        found["conditions"] = {"ready": ready}
    if pod:
        found["targetRef"] = {"kind": "Pod", "name": pod, "uid": pod}
    return found


def endpoint_slice(
    name: str,
    *endpoints: dict[str, Any] | str,
    service: str = "models",
    ports: Mapping[str, int] | None = None,
    family: str = "IPv4",
) -> dict[str, Any]:
    """A slice as the cluster's own controller writes it."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": service}},
        "addressType": family,
        "endpoints": [endpoint(e) if isinstance(e, str) else e for e in endpoints],
        "ports": [
            {"name": each, "port": number, "protocol": "TCP"}
            for each, number in (ports or {"http": 8000}).items()
        ],
    }


class Pod:
    """The agent and Envoy of one router, and what the operator would write for it."""

    def __init__(self, kubernetes: Kubernetes, namespace: str, directory: Path) -> None:
        self.kubernetes = kubernetes
        self.namespace = namespace
        self.directory = directory
        self.runtime = directory / "run"
        self.state = directory / "state"
        self.log = directory / "agent.log"
        self.runtime.mkdir(parents=True)
        self.port = free_port()
        self.admin_port = free_port()
        self._void_port = free_port()
        self._agent: subprocess.Popen[bytes] | None = None
        self._envoy: subprocess.Popen[bytes] | None = None
        self._kubeconfig: Path | None = None
        self._shards: dict[int, dict[str, str]] = {}

    # What the operator would write

    def permit(self, secrets: Sequence[str] = ()) -> None:
        """The router's service account, with its rights."""
        self.kubernetes.apply(
            plan_service_account(ROUTER, self.namespace),
            plan_role(ROUTER, self.namespace, secrets),
            plan_role_binding(ROUTER, self.namespace),
            namespace=self.namespace,
        )

    def write(self, wanted: RouterConfig, limit: int = 200 * 1024) -> str:
        """The configuration's ConfigMaps, and the Role that goes with them; its version."""
        self.permit(secret_names(wanted))
        content = entries(wanted)
        goal = place(content, self._shards, limit)
        for step in writes(self._shards, goal):
            if step.data is None:
                name = shard_name(ROUTER, step.index)
                self.kubernetes.kubectl("delete", "configmap", name, "-n", self.namespace)
            else:
                self.write_shard(step.index, step.data)
        self._shards = {index: dict(shard) for index, shard in goal.items()}
        return version(content)

    def write_shard(self, index: int, data: Mapping[str, str]) -> None:
        """One ConfigMap."""
        shard = plan_shard(ROUTER, self.namespace, index, data)
        self.kubernetes.apply(shard, namespace=self.namespace)

    def apply(self, *objects: dict[str, Any]) -> None:
        """Anything else."""
        self.kubernetes.apply(*objects, namespace=self.namespace)

    # Processes

    def start(self) -> Self:
        """The agent, and Envoy as soon as the agent has made its bootstrap."""
        self.start_agent()
        self.start_envoy()
        return self

    def prepare_access(self) -> Path:
        """The kubeconfig of the router's service account."""
        if self._kubeconfig is None:
            self._kubeconfig = self.kubernetes.kubeconfig_of(
                child_name(ROUTER), self.namespace, self.directory
            )
        return self._kubeconfig

    def start_agent(self) -> None:
        """The agent; returns once it answers."""
        command = [sys.executable, "-m", "modelrouter", "router", "--kubernetes"]
        command += ["--namespace", self.namespace, "--router", ROUTER]
        command += ["--kubeconfig", str(self.prepare_access()), "--runtime-dir", str(self.runtime)]
        command += ["--state-dir", str(self.state), "--listen", f"127.0.0.1:{self.port}"]
        command += ["--admin", f"127.0.0.1:{self.admin_port}"]
        command += ["--void-port", str(self._void_port), "--log-format", "json"]
        self._agent = launch(command, self.log)
        wait_until(self._answers, self._agent, self.log)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.admin_port)) == 0

    def start_envoy(self) -> None:
        """Envoy, as a router's Deployment starts it."""
        command = [str(find_envoy()), "--config-path", str(self.runtime / "envoy.json")]
        command += ["--concurrency", "1", *ENVOY_FLAGS]
        self._envoy = launch(command, self.directory / "envoy.log")

    def terminate_agent(self) -> None:
        """SIGTERM, as when its container alone is restarted."""
        assert self._agent is not None
        self._agent.terminate()
        self._agent.wait(20)

    def kill_agent(self) -> None:
        assert self._agent is not None
        self._agent.kill()
        self._agent.wait()

    def kill_envoy(self) -> None:
        assert self._envoy is not None
        self._envoy.kill()
        self._envoy.wait()

    def stop(self) -> None:
        """End both."""
        for process in (self._agent, self._envoy):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    # What can be seen from outside

    async def readiness(self) -> dict[str, Any]:
        """`/readyz`, whatever its status."""
        answer: dict[str, Any] = await ask(self.admin_port, "GET", "/readyz", ok=(200, 503))
        return answer

    async def ready(self) -> None:
        """Wait until it is ready."""

        async def there() -> bool:
            return bool((await self.readiness())["ready"])

        await eventually(there)

    async def problems(self) -> str:
        """All problems of `/readyz`, as text."""
        return json.dumps((await self.readiness())["problems"])

    async def configz(self, **query: str) -> dict[str, Any]:
        """`/configz`; with `after` it waits."""
        path = f"/configz?{urlencode(query)}" if query else "/configz"
        answer: dict[str, Any] = await ask(self.admin_port, "GET", path)
        return answer

    async def reached(self, wanted: str, within: float = 15.0) -> None:
        """Wait until Envoy works by a version."""

        async def there() -> bool:
            return bool((await self.configz())["version"] == wanted)

        await eventually(there, within=within)

    def hosts(self, pool: str) -> set[str]:
        """The addresses that Envoy has for a pool; the void is none."""
        connection = http.client.HTTPConnection("envoy")
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.connect(str(self.runtime / "admin.sock"))
            connection.request("GET", "/clusters?format=json&filter=" + pool)
            found = json.loads(connection.getresponse().read())
        except OSError:
            return set()
        finally:
            connection.close()
        return {
            f"{address['address']}:{address['port_value']}"
            for cluster in found.get("cluster_statuses", ())
            if cluster["name"] == pool
            for host in cluster.get("host_statuses", ())
            if (address := host["address"].get("socket_address"))
        }

    async def has(self, pool: str, *addresses: str, within: float = 15.0) -> None:
        """Wait until Envoy has exactly these endpoints for a pool."""
        wanted = set(addresses)
        await eventually(lambda: self.hosts(pool) == wanted, within=within, every=0.02)

    async def chat(self, model: str = "chat") -> tuple[int, str]:
        """A request through Envoy: status and body."""

        def exchange() -> tuple[int, str]:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
            headers = {"content-type": "application/json"}
            try:
                connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
            except OSError as error:
                return 0, str(error)
            finally:
                connection.close()

        return await asyncio.to_thread(exchange)
