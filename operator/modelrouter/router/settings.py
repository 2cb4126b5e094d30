"""What an agent is told when it is started."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Which router of which cluster an agent is for."""

    namespace: str
    router: str
    kubeconfig: Path | None = None
    """None: the agent runs in a pod of the cluster."""


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Fixed for the life of an agent."""

    runtime_dir: Path
    """For the sockets and Envoy's bootstrap; Envoy reaches it too."""
    config: Path | None = None
    """The RouterConfig document, as JSON. None: `cluster` has it."""
    cluster: ClusterSettings | None = None
    """The cluster to take the configuration, keys and endpoints from, instead of files."""
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
    peers: tuple[str, ...] = ()
    """Admin addresses (`host:port`) of the other routers that clients reach by the same address.
    Pods of a cluster find each other."""
    drain_seconds: float = 30.0
    """How long requests may take to end once Envoy is to stop."""
    log_level: str = "info"
    log_format: str = "console"
