"""The programs that make up a router, as commands."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from modelrouter.api.quantities import join_address
from modelrouter.plan.envoy_flags import ENVOY_FLAGS
from modelrouter.standalone.publishing import RouterFiles
from modelrouter.standalone.supervising import Command

DRAIN_SECONDS = 30.0
"""Longest that open requests are waited for when the router is told to stop."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a router's parts meet."""

    files: RouterFiles
    state_dir: Path
    """Where the agent keeps the last good configuration."""
    host: str
    port: int
    """Where requests arrive."""
    admin_host: str
    admin_port: int
    """Where the agent answers about itself."""
    void_port: int
    """Loopback port of Envoy's own, for pools without a live endpoint."""
    concurrency: int
    """Envoy's worker threads."""

    @property
    def url(self) -> str:
        """The base URL for clients."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)
        return f"http://{host}:{self.port}/v1"


def agent_command(places: Places, log_level: str) -> Command:
    """The agent: decides per request and configures Envoy."""
    arguments = [
        *(sys.executable, "-m", "modelrouter", "router"),
        *("--config", str(places.files.config), "--secrets", str(places.files.secrets)),
        *("--runtime-dir", str(places.files.directory), "--state-dir", str(places.state_dir)),
        *("--listen", join_address(places.host, places.port)),
        *("--admin", join_address(places.admin_host, places.admin_port)),
        *("--void-port", str(places.void_port), "--drain-seconds", str(DRAIN_SECONDS)),
        *("--log-format", "json", "--log-level", log_level),
    ]
    return Command("agent", arguments, {"PYTHONUNBUFFERED": "1"})


def envoy_command(binary: Path, places: Places) -> Command:
    """Envoy: moves every byte."""
    arguments = [
        *(str(binary), "-c", str(places.files.bootstrap)),
        *("--concurrency", str(places.concurrency), *ENVOY_FLAGS),
    ]
    return Command("envoy", arguments)
