"""Which servers a request came to, as the servers themselves remember."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from cluster.kubernetes.access import KubectlError
from cluster.node.workloads import MODEL_PORT

Object = dict[str, Any]

EVERY_SECONDS = 2.0
_LAST = 150
"""Requests that one server may receive between two looks."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One request at one server."""

    pod: str
    pool: str
    """The pod's."""
    started: float
    """Seconds since 1970."""
    ended: float | None
    completed: bool
    """Whether the server gave its answer to the end and the client stayed."""


class Journals:
    """Looks into the servers' journals for as long as the context lasts."""

    def __init__(
        self, servers: Callable[[], list[Object]], *, every: float = EVERY_SECONDS
    ) -> None:
        self._servers, self._every = servers, every
        self._pods: list[Object] = []
        self.visits: dict[str, dict[tuple[str, float], Visit]] = {}
        """By request id, then by pod and start."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journals", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            self._look()

    def _look(self) -> None:
        # While the API server is away those known before are looked at.
        with suppress(KubectlError):
            self._pods = self._servers()
        for pod in self._pods:
            address = pod["status"].get("podIP")
            url = f"http://{address}:{MODEL_PORT}/_simulate/requests?last={_LAST}"
            try:
                with urllib.request.urlopen(url, timeout=1) as answer:
                    entries = json.load(answer)["requests"]
            except (OSError, ValueError):
                continue  # Frozen, killed or not there yet.
            for entry in entries:
                self._take(pod["metadata"], entry)

    def _take(self, metadata: Object, entry: Object) -> None:
        headers = {name.lower(): value for name, value in entry["headers"]}
        completed = entry["status"] == 200 and not entry["client_gone"] and bool(entry["ended"])
        pod, pool = metadata["name"], metadata["labels"].get("modelrouter.dev/pool", "")
        visit = Visit(pod, pool, entry["started"], entry["ended"], completed)
        found = self.visits.setdefault(headers.get("x-request-id", ""), {})
        found[pod, visit.started] = visit
