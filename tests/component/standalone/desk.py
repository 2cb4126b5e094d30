"""A folder of manifests and the router that follows it, in a process of its own."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from component.standalone.processes import Started, started
from modelrouter.standalone.ports import free_port


@dataclass
class Desk:
    """A folder of manifests and the router that follows it."""

    folder: Path
    port: int = field(default_factory=free_port)
    admin_port: int = field(default_factory=free_port)
    pools: dict[str, int] = field(default_factory=dict)
    """Ports of the pools `small` and `large`."""

    def write(self, weights: tuple[int, int] = (100, 0), extra: str = "") -> None:
        """Write the route, with the weights of `small` and `large`."""
        small, large = weights
        (self.folder / "route.yaml").write_text(
            f"""apiVersion: modelrouter.dev/v1alpha1
kind: ModelRoute
metadata: {{name: chat}}
spec:
  models: [chat]
  pools: [small, large]
  rules:
  - name: default
    targets:
    - {{pool: small, weight: {small}}}
    - {{pool: large, weight: {large}}}
{extra}"""
        )

    def write_pools(self) -> None:
        """Write both pools, each with one local endpoint."""
        for name in ("small", "large"):
            port = self.pools.setdefault(name, free_port())
            (self.folder / f"{name}.yaml").write_text(
                f"""apiVersion: modelrouter.dev/v1alpha1
kind: ModelPool
metadata: {{name: {name}}}
spec:
  model: {name}-model
  endpoints: ["127.0.0.1:{port}"]
  healthCheck: {{interval: 1s, timeout: 1s}}
"""
            )

    @contextlib.contextmanager
    def running(
        self, environment: Mapping[str, str] | None = None, **options: object
    ) -> Iterator[Started]:
        """A router on these manifests; it need not come up. Options are the command's own."""
        options = {
            "simulate": True,
            "port": self.port,
            "admin_port": self.admin_port,
            "envoy_concurrency": 1,
            **options,
        }
        arguments = [sys.executable, "-m", "modelrouter", "run", "-f", str(self.folder)]
        for name, value in options.items():
            arguments.append(f"--{name.replace('_', '-')}")
            if value is not True:
                arguments.append(str(value))
        with started(arguments, environment) as run:
            yield run

    def ask(self, **more: object) -> httpx.Response:
        """One request."""
        body = {"model": "chat", "max_tokens": 2, "messages": [{"role": "user", "content": "Hi"}]}
        return httpx.post(f"{self.url}/chat/completions", json={**body, **more}, timeout=10)

    @property
    def url(self) -> str:
        """The base URL for clients."""
        return f"http://127.0.0.1:{self.port}/v1"

    def admin(self, path: str) -> Any:
        """What the agent says of itself."""
        return httpx.get(f"http://127.0.0.1:{self.admin_port}{path}", timeout=5).json()
