"""Router pods that tell any load and any figures that a test wants: agents without an Envoy."""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cluster.control_plane.controller.routerpods import RouterPods
from cluster.control_plane.controller.waiting import eventually
from cluster.kubernetes.access import Kubernetes

_POLL_SECONDS = 25.0


class LoadedRouter:
    """One of the Deployment's pods, whose agent answers what it is told to."""

    _number = 2

    def __init__(self, kubernetes: Kubernetes, namespace: str, pods: RouterPods) -> None:
        LoadedRouter._number += 1
        # Not the addresses of pods whose processes are real.
        self.address = f"127.{os.getpid() % 25 + 225}.1.{LoadedRouter._number}"
        self._kubernetes, self._namespace = kubernetes, namespace
        self.pools: dict[str, dict[str, int]] = {}
        self.arms: dict[str, dict[str, Any]] = {}
        """By route: the figures of its canary's arms, whatever the window."""
        self.silent = False
        """Whether it keeps its figures to itself."""
        self._changed = threading.Condition()
        self._digest = 0
        router = self

        class Answers(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                place = urlsplit(self.path)
                query = parse_qs(place.query)
                if place.path == "/measurementz":
                    found = router._measured(query["route"][0], query["seconds"])
                else:
                    found = router._state(query.get("pools", [""])[0])
                body = json.dumps(found).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.send_header("connection", "close")  # so that it can be stopped
                self.end_headers()
                with suppress(ConnectionError):  # who asked may have given up
                    self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((self.address, 8081), Answers)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        played = {pod.name for pod in pods.pods}
        fresh = eventually(lambda: sorted(set(pods.names()) - played), within=60)
        self.name = str(fresh[0])
        self.report(ready=True)

    def tell(self, pool: str, in_flight: int, waiting: int = 0, *, ready: int = 0) -> None:
        """This is the load of a pool from now on."""
        with self._changed:
            self.pools[pool] = {
                "ready": ready, "total": ready, "inFlight": in_flight, "waiting": waiting,
            }  # fmt: skip
            self._digest += 1
            self._changed.notify_all()

    def measure(self, route: str, canary: str, **arms: Any) -> None:
        """From now on these are the figures of a canary's `stable` and `candidate`."""
        self.arms[route] = {
            "id": canary,
            "stable": arms["stable"].document(),
            "canary": arms["candidate"].document(),
        }

    def report(self, *, ready: bool) -> None:
        """Write the pod's status."""
        status = {
            "phase": "Running",
            "podIP": self.address,
            "podIPs": [{"ip": self.address}],
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        }
        self._kubernetes.kubectl(
            "patch", "pod", self.name, "-n", self._namespace, "--subresource=status",
            "--type=merge", "-p", json.dumps({"status": status}),
        )  # fmt: skip

    def stop(self) -> None:
        """Answer no more; the pod's object stays as it is."""
        with self._changed:
            self._digest += 1
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def _measured(self, route: str, seconds: list[str]) -> dict[str, Any]:
        while self.silent:
            time.sleep(0.1)
        found = self.arms.get(route, {"id": "", "stable": {}, "canary": {}})
        arms = {"stable": found["stable"], "canary": found["canary"]}
        windows = {each: {**arms, "covers": float(each)} for each in seconds}
        return {"route": route, "id": found["id"], "windows": windows}

    def _state(self, known: str) -> dict[str, Any]:
        with self._changed:
            self._changed.wait_for(lambda: str(self._digest) != known, _POLL_SECONDS)
            return {"version": "", "pools": self.pools, "poolsDigest": str(self._digest)}
