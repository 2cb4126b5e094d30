"""What the agent's admin address tells: readiness, the version in force, figures by route."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp

_TIMEOUT = 2.0
"""Seconds for an answer that needs no waiting."""


@dataclass(frozen=True, slots=True)
class PoolShare:
    """What one pool did for one route."""

    route: str
    pool: str
    requests: int = 0
    """Since the agent's start, like all counts here."""
    errors: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    p50_ms: float | None = None
    """Milliseconds to the end of an answer, for half of the requests; None: not known yet."""
    p99_ms: float | None = None
    first_byte_p50_ms: float | None = None
    """Milliseconds to the first byte of an answer."""
    recent_share: float = 0.0
    """Share of the route's requests in the last seconds, 0 to 1."""
    per_second: float = 0.0
    """Requests per second in the last seconds."""


@dataclass(frozen=True, slots=True)
class PoolHealth:
    """A pool's endpoints."""

    pool: str
    ready: int | None
    """Endpoints that get requests; None: not known."""
    endpoints: int | None
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything `/routez` says."""

    version: str = ""
    shares: tuple[PoolShare, ...] = ()
    pools: tuple[PoolHealth, ...] = ()


@dataclass(frozen=True, slots=True)
class Readiness:
    """What `/readyz` says."""

    ready: bool = False
    detail: Mapping[str, Any] = field(default_factory=dict)


class AdminClient:
    """Asks the agent. An agent that does not answer is no error: the answer is None."""

    def __init__(self, host: str, port: int) -> None:
        self._base = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def readiness(self) -> Readiness | None:
        """Whether traffic may come."""
        found = await self._get("/readyz", _TIMEOUT)
        return None if found is None else Readiness(found[0] == 200, found[1])

    async def figures(self) -> Figures | None:
        """Routes and pools with their figures."""
        found = await self._get("/routez", _TIMEOUT)
        return None if found is None else read_figures(found[1])

    async def version(self, after: str | None = None, wait: float = 0.0) -> str | None:
        """The version that Envoy has acknowledged; waits `wait` seconds for one but `after`."""
        query = "" if after is None else f"?after={after}&timeout={wait:.3f}"
        found = await self._get(f"/configz{query}", wait + _TIMEOUT)
        return None if found is None else str(found[1].get("version", ""))

    async def _get(self, path: str, within: float) -> tuple[int, Mapping[str, Any]] | None:
        assert self._session is not None
        limit = aiohttp.ClientTimeout(total=within)
        try:
            async with self._session.get(self._base + path, timeout=limit) as response:
                value = await response.json(content_type=None)
                return (response.status, value) if isinstance(value, dict) else None
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
            return None


def read_figures(document: Mapping[str, Any]) -> Figures:
    """The figures in a `/routez` answer; what is missing counts as none."""
    window = float(document.get("recent_seconds", 5.0))
    shares = []
    for route, pools in sorted(_mapping(document, "routes").items()):
        for pool, value in pools.items():
            latency, first = _mapping(value, "latency_ms"), _mapping(value, "first_byte_ms")
            recent = _mapping(value, "recent")
            shares.append(
                PoolShare(
                    route,
                    pool,
                    requests=int(value.get("requests", 0)),
                    errors=int(value.get("errors", 0)),
                    prompt_tokens=int(value.get("prompt_tokens", 0)),
                    completion_tokens=int(value.get("completion_tokens", 0)),
                    p50_ms=latency.get("p50"),
                    p99_ms=latency.get("p99"),
                    first_byte_p50_ms=first.get("p50"),
                    recent_share=float(recent.get("share") or 0.0),
                    per_second=float(recent.get("requests") or 0) / window,
                )
            )
    pools = tuple(
        PoolHealth(
            name,
            value.get("ready"),
            value.get("endpoints"),
            int(value.get("in_flight") or 0),
        )
        for name, value in sorted(_mapping(document, "pools").items())
    )
    return Figures(str(document.get("version", "")), tuple(shares), pools)


def _mapping(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key)
    return value if isinstance(value, dict) else {}
