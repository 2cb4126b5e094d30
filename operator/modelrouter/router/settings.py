"""What an agent is told when it is started."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Fixed for the life of an agent."""

    config: Path
    """The RouterConfig document, as JSON."""
    runtime_dir: Path
    """For the sockets and Envoy's bootstrap; Envoy reaches it too."""
    secrets: Path | None = None
    """Values of Secrets, as JSON: name → key → value."""
    state_dir: Path | None = None
    """Where the last good configuration is kept. None: nowhere."""
    host: str = "127.0.0.1"
    port: int = 8080
    """Where Envoy listens for clients."""
    void_port: int = 8079
    """Loopback port of Envoy's own for pools without a live endpoint."""
    admin_host: str = "127.0.0.1"
    admin_port: int = 8081
    """Where the agent serves its probes and metrics."""
    drain_seconds: float = 30.0
    """How long requests may take to end after SIGTERM."""
    log_level: str = "info"
    log_format: str = "console"
