"""An API server that knows one ModelRoute, for commands that run from beginning to end."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import yaml


class ApiServer:
    """Serves `route` and takes merge patches to its metadata. As a context manager it runs."""

    def __init__(self, route: dict[str, Any]) -> None:
        self.route = route
        self.patches: list[tuple[str, dict[str, Any]]] = []
        """Each patch with the field manager that it came from."""
        self.before_answer: Callable[[int], None] = lambda number: None
        """Called with the number of each read, from 1, before its answer."""
        self.refusal: tuple[int, str] | None = None
        self._reads = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def kubeconfig(self, path: Path, namespace: str = "") -> Path:
        """A kubeconfig file of this server, whose context names a namespace."""
        host, port = self._server.server_address[:2]
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "contexts": [
                {
                    "name": "here",
                    "context": {
                        "cluster": "c",
                        "user": "u",
                        **({"namespace": namespace} if namespace else {}),
                    },
                },
                {
                    "name": "elsewhere",
                    "context": {"cluster": "c", "user": "u", "namespace": "elsewhere"},
                },
            ],
            "clusters": [{"name": "c", "cluster": {"server": f"http://{host}:{port}"}}],
            "users": [{"name": "u", "user": {"token": "planted-token"}}],
        }
        path.write_text(yaml.safe_dump(content))
        return path

    def _answer(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        if self.refusal is not None:
            code, reason = self.refusal
            return code, {"kind": "Status", "code": code, "reason": reason, "message": "no"}
        metadata = self.route["metadata"]
        place = f"/namespaces/{metadata['namespace']}/modelroutes/{metadata['name']}"
        path, _, query = path.partition("?")
        if path != f"/apis/modelrouter.dev/v1alpha1{place}":
            return 404, {"kind": "Status", "reason": "NotFound", "message": f"{path} not found"}
        if method == "GET":
            self._reads += 1
            self.before_answer(self._reads)
            return 200, self.route
        patch = json.loads(body)
        self.patches.append((query.partition("fieldManager=")[2], patch))
        annotations = metadata.setdefault("annotations", {})
        for key, value in patch["metadata"]["annotations"].items():
            annotations.pop(key, None)
            if value is not None:
                annotations[key] = value
        return 200, self.route

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answer = self._answer

        class Handler(BaseHTTPRequestHandler):
            def _go(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                code, document = answer(self.command, self.path, self.rfile.read(length))
                content = json.dumps(document).encode()
                self.send_response(code)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PATCH = _go  # noqa: N815 (the names that the base class calls)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
