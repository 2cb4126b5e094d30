"""What the bootstrap needs to know about its surroundings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

LETTING_GO = "letting-go"
"""Name of the file by which Envoy is told to close unused connections."""


@dataclass(frozen=True, slots=True)
class EnvoySettings:
    """Fixed for the life of an Envoy process."""

    directory: Path
    """Where the Unix sockets are; agent and Envoy both reach it."""
    host: str = "0.0.0.0"
    port: int = 8080
    node: str = "router"
    cluster: str = "model-router"
    admin_port: int | None = None
    """None: the admin interface is on a Unix socket."""
    void_port: int = 8079
    """Loopback port where Envoy itself answers for pools whose names need DNS."""
    max_body_bytes: int = 32 * 1024 * 1024
    decision_timeout_ms: int = 1000
    initial_fetch_timeout_ms: int = 5000
    max_connections: int = 50_000
    reuse_port: bool = True
    """False: a second Envoy on the same port fails instead of sharing its requests."""

    @property
    def decision_socket(self) -> str:
        """Where the agent answers decisions."""
        return str(self.directory / "decide.sock")

    @property
    def control_socket(self) -> str:
        """Where the agent serves xDS, over gRPC."""
        return str(self.directory / "control.sock")

    @property
    def void_socket(self) -> str:
        """Where Envoy itself answers for pools without endpoints."""
        return str(self.directory / "void.sock")

    @property
    def holding_socket(self) -> str:
        """Where the agent takes in requests that wait."""
        return str(self.directory / "hold.sock")

    @property
    def again_socket(self) -> str:
        """Where Envoy takes back requests that have waited."""
        return str(self.directory / "again.sock")

    @property
    def mirror_socket(self) -> str:
        """Where Envoy itself takes in copies of requests."""
        return str(self.directory / "mirror.sock")

    @property
    def pairs_socket(self) -> str:
        """Where the agent takes in answers that are compared."""
        return str(self.directory / "pairs.sock")

    @property
    def feedback_socket(self) -> str:
        """Where the agent takes feedback."""
        return str(self.directory / "feedback.sock")

    @property
    def log_pipe(self) -> str:
        """The named pipe of the access log, made by the agent before Envoy starts."""
        return str(self.directory / "requests.pipe")

    @property
    def letting_go_file(self) -> str:
        """Holds `1` while Envoy is to close connections that clients keep without using them."""
        return str(self.directory / LETTING_GO)

    @property
    def admin_socket(self) -> str:
        """Where Envoy's admin interface is."""
        return str(self.directory / "admin.sock")
