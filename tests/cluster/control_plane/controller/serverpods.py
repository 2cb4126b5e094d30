"""Model servers' pods without a node: the Deployment's own pods, their status written by the test.

A pod gets its status as a kubelet or the scheduler would write it. Where adapters are to be loaded
its vLLM is a small server of this process on a loopback address.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cluster.control_plane.controller.resources import Resources
from cluster.control_plane.controller.waiting import eventually

IMAGE = "vllm/vllm-openai:v0.33.0"
_NUMBERS = itertools.count(2)


def vllm_pool(name: str, **vllm: Any) -> dict[str, Any]:
    """A ModelPool whose servers the operator runs."""
    return {
        "apiVersion": "modelrouter.dev/v1alpha1",
        "kind": "ModelPool",
        "metadata": {"name": name},
        "spec": {"model": "acme/llama", "vllm": {"image": IMAGE, **vllm}},
    }


def ago(seconds: float) -> str:
    """A time as Kubernetes writes it."""
    return (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def conditions(*, ready: bool, since: float = 3600, scheduled: bool = True) -> list[dict[str, Any]]:
    """Those of a pod that has a node."""
    return [
        {"type": "PodScheduled", "status": str(scheduled), "lastTransitionTime": ago(3600)},
        {"type": "Ready", "status": str(ready), "lastTransitionTime": ago(since)},
    ]


def container(**status: Any) -> dict[str, Any]:
    """The status of the container `vllm`."""
    return {
        "name": "vllm",
        "image": IMAGE,
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        **status,
    }


def waiting(reason: str, message: str = "", **status: Any) -> dict[str, Any]:
    """A container that does not run."""
    return container(state={"waiting": {"reason": reason, "message": message}}, **status)


def running(since: float = 0, **status: Any) -> dict[str, Any]:
    """A container that runs."""
    state = {"running": {"startedAt": ago(since)}}
    return container(**{"state": state, "started": False, **status})


def ended(code: int, message: str = "", reason: str = "Error", lasted: float = 20) -> Any:
    """How a container ended."""
    return {
        "terminated": {
            "exitCode": code,
            "reason": reason,
            "message": message,
            "startedAt": ago(lasted + 60),
            "finishedAt": ago(60),
        }
    }


def pods_of(here: Resources, pool: str) -> list[dict[str, Any]]:
    """The pods of a pool that are to stay, oldest first."""
    found = here.kubernetes.get("pods", "-n", here.namespace, "-l", f"modelrouter.dev/pool={pool}")
    pods = [pod for pod in found["items"] if not pod["metadata"].get("deletionTimestamp")]
    return sorted(pods, key=lambda pod: pod["metadata"]["name"])


def pod_names(here: Resources, pool: str, count: int = 1) -> list[str]:
    """The names of so many pods of a pool, once they are there."""

    def names() -> list[str]:
        found = [pod["metadata"]["name"] for pod in pods_of(here, pool)]
        return found if len(found) == count else []

    return eventually(names, within=60)


def report(here: Resources, pod: str, **status: Any) -> None:
    """Write a pod's status."""
    here.kubernetes.kubectl(
        "patch", "pod", pod, "-n", here.namespace, "--subresource=status", "--type=merge",
        "-p", json.dumps({"status": status}),
    )  # fmt: skip


def report_ready(here: Resources, pod: str, address: str, container_id: str = "one") -> None:
    """A pod that serves."""
    report(
        here,
        pod,
        phase="Running",
        podIP=address,
        podIPs=[{"ip": address}],
        conditions=conditions(ready=True, since=0),
        containerStatuses=[
            running(5, ready=True, started=True, containerID=f"containerd://{container_id}")
        ],
    )


def list_endpoint(here: Resources, pool: str) -> None:
    """One ready endpoint of a pool, listed by hand: Kubernetes lists no pod without a node."""
    here.apply(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{pool}-1",
                "labels": {"kubernetes.io/service-name": f"model-pool-{pool}"},
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8000}],
            "endpoints": [{"addresses": ["10.1.2.3"], "conditions": {"ready": True}}],
        }
    )


class LoraServer:
    """What vLLM answers about its adapters, at port 8000 of a loopback address of its own."""

    def __init__(self) -> None:
        number = next(_NUMBERS)
        # Other test runs on this machine play pods too.
        self.address = f"127.{os.getpid() % 200 + 20}.{200 + number // 250}.{number % 250 + 2}"
        self.adapters: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        """Messages of errors by name of the adapter."""
        self.asked: list[tuple[str, str]] = []
        """Path and adapter of every request."""
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers["content-length"])
                self._answer(*server.take(self.path, json.loads(self.rfile.read(length))))

            def do_GET(self) -> None:
                models = [{"id": n, "root": path} for n, path in server.adapters.items()]
                self._answer(200, json.dumps({"data": models}))

            def _answer(self, status: int, text: str) -> None:
                self.send_response(status)
                self.send_header("content-length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((self.address, 8000), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def take(self, path: str, body: dict[str, str]) -> tuple[int, str]:
        """The answer to a request, as vLLM has it."""
        name = body["lora_name"]
        self.asked.append((path, name))
        if path == "/v1/unload_lora_adapter":
            if self.adapters.pop(name, None) is None:
                return 404, _error(f"The lora adapter '{name}' cannot be found.")
            return 200, f"Success: LoRA adapter '{name}' removed successfully."
        if name in self.refused:
            return 404, _error(self.refused[name])
        if name in self.adapters:
            return 400, _error(f"The lora adapter '{name}' has already been loaded.")
        self.adapters[name] = body["lora_path"]
        return 200, f"Success: LoRA adapter '{name}' added successfully."

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


def _error(message: str) -> str:
    return json.dumps({"error": {"message": message, "type": "NotFoundError", "code": 404}})
