"""ModelRoutes and ModelPools in a namespace: applied, deleted, and what their statuses say."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cluster.control_plane.controller.waiting import eventually
from cluster.kubernetes.access import Kubernetes

Condition = tuple[str, str]
"""Status and reason."""


@dataclass(frozen=True, slots=True)
class Resources:
    """The resources of one namespace."""

    kubernetes: Kubernetes
    namespace: str

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Apply manifests."""
        self.kubernetes.apply(*(dict(obj) for obj in objects), namespace=self.namespace)

    def limit(self, name: str, **hard: str) -> None:
        """Make a ResourceQuota, and return when it is enforced."""
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "ResourceQuota",
                "metadata": {"name": name},
                "spec": {"hard": hard},
            }
        )
        eventually(lambda: self.get("resourcequota", name).get("status", {}).get("hard"))

    def delete(self, kind: str, name: str) -> None:
        """Delete one object, and wait until it is gone."""
        self.kubernetes.kubectl("delete", kind, name, "-n", self.namespace)

    def get(self, kind: str, name: str) -> Any:
        """One object."""
        return self.kubernetes.get(kind, name, "-n", self.namespace)

    def all(self, kind: str) -> list[Any]:
        """All objects of a kind."""
        found: list[Any] = self.kubernetes.get(kind, "-n", self.namespace)["items"]
        return found

    def names(self, kind: str) -> list[str]:
        """The names of all objects of a kind."""
        return [obj["metadata"]["name"] for obj in self.all(kind)]

    def conditions(self, kind: str, name: str) -> dict[str, Condition]:
        """Status and reason by type. Every one must be about the present generation."""
        obj = self.get(kind, name)
        status = obj.get("status", {})
        generation = obj["metadata"]["generation"]
        assert status.get("observedGeneration") == generation, f"{status} is not of {generation}"
        found = {}
        for condition in status["conditions"]:
            assert condition["observedGeneration"] == generation, condition
            found[condition["type"]] = (condition["status"], condition["reason"])
        return found

    def message(self, kind: str, name: str, condition: str) -> str:
        """What a condition tells people."""
        status = self.get(kind, name)["status"]
        (message,) = (c["message"] for c in status["conditions"] if c["type"] == condition)
        return str(message)

    def expect(
        self, kind: str, name: str, *, within: float = 30.0, **wanted: Condition
    ) -> dict[str, Condition]:
        """Wait until conditions have this status and reason."""

        def check() -> dict[str, Condition]:
            found = self.conditions(kind, name)
            assert {type_: found.get(type_) for type_ in wanted} == wanted
            return found

        return eventually(check, within=within)

    def events(self, kind: str, name: str) -> list[tuple[str, str]]:
        """Type and reason of the Events about an object, oldest first."""
        found = [
            event
            for event in self.kubernetes.get("events.events.k8s.io", "-n", self.namespace)["items"]
            if event["regarding"]["kind"] == kind and event["regarding"]["name"] == name
        ]
        found.sort(key=lambda event: event["eventTime"])
        return [(event["type"], event["reason"]) for event in found]


class ModelServer:
    """An address that passes health checks while it is up."""

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _Healthy)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    request_queue_size = 1024  # two hundred pools send their first probes at once


class _Healthy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass
