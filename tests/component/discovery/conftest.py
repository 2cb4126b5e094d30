"""A real Envoy that takes its configuration from a discovery server in the test's own process.

Everything listens on Unix sockets in a temporary directory, so tests may run side by side.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import envoy
import grpc.aio
import pytest
import pytest_asyncio
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.http.credential_injector.v3 import (  # noqa: F401
    credential_injector_pb2,
)
from envoy.extensions.filters.http.upstream_codec.v3 import upstream_codec_pb2  # noqa: F401
from envoy.extensions.http.injected_credentials.generic.v3 import generic_pb2  # noqa: F401
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2  # noqa: F401
from google.protobuf import json_format

from modelrouter.router.discovery import ResourceSet, Store, discovery_handler, serve, server
from modelrouter.router.discovery.ledger import Pacing
from modelrouter.router.discovery.resources import Push
from modelrouter.router.discovery.wire import encode_response

ENVOY = Path(next(iter(envoy.__path__))) / "_bin" / "envoy"
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
HTTP2 = {
    HTTP_OPTIONS: {
        "@type": f"type.googleapis.com/{HTTP_OPTIONS}",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
}


class Build:
    """Resources in their serialised form, as the store wants them."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def cluster(self, name: str, **fields: Any) -> bytes:
        spec = {
            "name": name,
            "type": "EDS",
            "eds_cluster_config": {"eds_config": {"ads": {}, "resource_api_version": "V3"}},
            "connect_timeout": "0.5s",
            "common_lb_config": {"update_merge_window": "0s"},
        }
        return self.serialise(spec | fields, cluster_pb2.Cluster())

    def endpoints(self, cluster: str, *backends: str) -> bytes:
        """Backends are Unix sockets by the name of their answer."""
        members = [
            {"endpoint": {"address": {"pipe": {"path": str(self.home / f"{name}.backend")}}}}
            for name in backends
        ]
        spec = {"cluster_name": cluster, "endpoints": [{"lb_endpoints": members}]}
        return self.serialise(spec, endpoint_pb2.ClusterLoadAssignment())

    def routes(self, cluster: str, **fields: Any) -> bytes:
        action = {"cluster": cluster} if cluster else {"cluster_header": "x-pool"}
        host = {"name": "all", "domains": ["*"]}
        host["routes"] = [{"match": {"prefix": "/"}, "route": action}]
        spec = {"name": "main", "virtual_hosts": [host]}
        return self.serialise(spec | fields, route_pb2.RouteConfiguration())

    def secret(self, name: str, value: str) -> bytes:
        spec = {"name": name, "generic_secret": {"secret": {"inline_string": value}}}
        return self.serialise(spec, secret_pb2.Secret())

    def pools(self, *names: str, to: str | None = None) -> ResourceSet:
        """One cluster for each name, with the backend of that name, and routes to one of them."""
        return ResourceSet(
            clusters={name: self.cluster(name) for name in names},
            endpoints={name: self.endpoints(name, name) for name in names},
            routes={"main": self.routes(names[0] if to is None else to)},
        )

    def serialise(self, spec: dict[str, Any], message: Any) -> bytes:
        json_format.ParseDict(spec, message)
        body: bytes = message.SerializeToString(deterministic=True)
        return body

    def bootstrap(self) -> dict[str, Any]:
        ads = {"ads": {}, "resource_api_version": "V3"}
        grpc_agent = {
            "envoy_grpc": {
                "cluster_name": "agent",
                "retry_policy": {
                    "retry_back_off": {"base_interval": "0.05s", "max_interval": "0.25s"}
                },
            }
        }
        log = {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.grpc.v3"
            ".HttpGrpcAccessLogConfig",
            "common_config": {
                "log_name": "requests",
                "transport_api_version": "V3",
                "grpc_service": {"envoy_grpc": {"cluster_name": "agent"}},
                "buffer_flush_interval": "0.05s",
            },
        }
        metadata = {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config",
            "metadata": [
                {"metadata_namespace": "usage", "value": {"completion_tokens": 7}},
            ],
        }
        router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
        manager = {
            "@type": "type.googleapis.com/envoy.extensions.filters.network"
            ".http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "in",
            "rds": {"route_config_name": "main", "config_source": ads},
            "generate_request_id": True,
            "access_log": [{"name": "als", "typed_config": log}],
            "http_filters": [
                {"name": "envoy.filters.http.set_metadata", "typed_config": metadata},
                {"name": "envoy.filters.http.router", "typed_config": {"@type": router}},
            ],
        }
        return {
            "node": {"id": "test", "cluster": "test"},
            "admin": {"address": {"pipe": {"path": str(self.home / "admin.sock")}}},
            "dynamic_resources": {
                "cds_config": ads,
                "ads_config": {
                    "api_type": "DELTA_GRPC",
                    "transport_api_version": "V3",
                    "set_node_on_first_message_only": True,
                    "grpc_services": [grpc_agent],
                },
            },
            "static_resources": {
                "listeners": [
                    {
                        "name": "main",
                        "address": {"pipe": {"path": str(self.home / "in.sock")}},
                        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
                    }
                ],
                "clusters": [
                    {
                        "name": "agent",
                        "type": "STATIC",
                        "connect_timeout": "0.25s",
                        "typed_extension_protocol_options": HTTP2,
                        "load_assignment": {
                            "cluster_name": "agent",
                            "endpoints": [
                                {
                                    "lb_endpoints": [
                                        {
                                            "endpoint": {
                                                "address": {
                                                    "pipe": {"path": str(self.home / "agent.sock")}
                                                }
                                            }
                                        }
                                    ]
                                }
                            ],
                        },
                    }
                ],
            },
        }


async def ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pool: str = ""
) -> tuple[int, str]:
    """One request on a connection that stays open."""
    writer.write(b"GET /v1/models HTTP/1.1\r\nhost: x\r\nx-pool: %s\r\n\r\n" % pool.encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.partition("content-length:")[2].partition("\r\n")[0] or 0)
    body = await reader.readexactly(length)
    return int(head.split()[1]), body.decode()


class Stage:
    """An Envoy, its agent and its backends."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.build = Build(home)
        self.store = Store(Pacing(linger=0.2))
        self.sent: list[Push] = []
        self.agent: grpc.aio.Server | None = None
        self.process: asyncio.subprocess.Process | None = None
        self.backends: list[asyncio.Server] = []

    async def start_agent(self, *handlers: Any, store: Store | None = None) -> None:
        self.store = store or self.store
        path = self.home / "agent.sock"
        self.agent = await serve(path, [discovery_handler(self.store), *handlers])

    async def stop_agent(self) -> None:
        if self.agent is not None:
            await self.agent.stop(None)
            self.agent = None

    async def start_envoy(self, patch: Callable[[dict[str, Any]], None] | None = None) -> None:
        bootstrap = self.build.bootstrap()
        if patch is not None:
            patch(bootstrap)
        path = self.home / "bootstrap.json"
        path.write_text(json.dumps(bootstrap))
        command = [str(ENVOY), "-c", str(path), "--disable-hot-restart", "--concurrency", "1"]
        with (self.home / "envoy.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command, "-l", os.environ.get("ENVOY_LEVEL", "warning"), stdout=log, stderr=log
            )

    async def kill_envoy(self) -> None:
        if self.process is not None:
            if self.process.returncode is None:
                self.process.send_signal(signal.SIGKILL)
            await self.process.wait()
            self.process = None
            (self.home / "in.sock").unlink(missing_ok=True)

    async def backend(self, name: str) -> None:
        """An HTTP server that answers with its name and the credential that it was shown."""

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while head := await reader.readuntil(b"\r\n\r\n"):
                    shown = head.partition(b"authorization: ")[2].partition(b"\r\n")[0]
                    body = name.encode() + (b" " + shown if shown else b"")
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body))
                    writer.write(body)
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            finally:
                writer.close()

        path = self.home / f"{name}.backend"
        self.backends.append(await asyncio.start_unix_server(handle, path))

    async def get(self, pool: str = "") -> tuple[int, str]:
        """One request on its own connection: status and body."""
        reader, writer = await asyncio.open_unix_connection(self.home / "in.sock")
        try:
            return await ask(reader, writer, pool)
        finally:
            writer.close()

    async def until(self, status: int, body: str | None = None, pool: str = "") -> None:
        """Ask again and again until this is the answer."""
        answer: tuple[int, str] | str = "nothing"
        for _ in range(1000):
            try:
                answer = await self.get(pool)
            except (OSError, asyncio.IncompleteReadError) as error:
                answer = repr(error)
            else:
                if answer[0] == status and body in (None, answer[1]):
                    return
            await asyncio.sleep(0.01)
        log = (self.home / "envoy.log").read_text()
        raise AssertionError(f"wanted {status} {body}, got {answer}; Envoy wrote: {log}")

    ask = staticmethod(ask)

    async def close(self) -> None:
        await self.kill_envoy()
        await self.stop_agent()
        for backend in self.backends:
            backend.close()
        shutil.rmtree(self.home, ignore_errors=True)


@pytest_asyncio.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    # pytest's own temporary paths can exceed the 107 bytes that a Unix socket's path may have.
    stage = Stage(Path(tempfile.mkdtemp(prefix="mr-ads-")))

    def encode(push: Push, nonce: str, version: str) -> bytes:
        stage.sent.append(push)
        return encode_response(push, nonce, version)

    monkeypatch.setattr(server, "encode_response", encode)
    try:
        yield stage
    finally:
        await stage.close()


@pytest.fixture
def build(stage: Stage) -> Build:
    return stage.build
