"""The process above a cluster: starts it, keeps it, and takes orders over a Unix socket.

It is a process of its own, so that a cluster can outlive one test run and so that, with a node, it
can be process 1 of the cluster's namespaces: when it ends, the kernel ends everything in them.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from cluster.kubernetes.control_plane import LOOPBACK, ControlPlane
from cluster.kubernetes.node import NODE_IP, start_node
from cluster.kubernetes.ports import free_ports
from cluster.kubernetes.problems import ClusterError
from cluster.kubernetes.processes import Processes, end_with_parent

SOCKET = "control.sock"
STATE = "cluster.json"
"""Written when the cluster is ready: what a test needs to know of it."""
_CHECK_SECONDS = 0.5


def supervise(tools: Path, run: Path, *, node: bool) -> int:
    """Run a cluster until SIGTERM, SIGINT or the end of the parent."""
    end_with_parent()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    processes = Processes(tools / "bin", run)
    address, port = (NODE_IP, 6443) if node else (LOOPBACK, free_ports(1)[0])
    plane = ControlPlane(processes, run, address, port)
    try:
        started = time.monotonic()
        if node:
            start_node(plane, tools)
        else:
            plane.start()
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(run / SOCKET))
            server.listen()
            server.settimeout(_CHECK_SECONDS)
            seconds = time.monotonic() - started
            state = {"url": plane.url, "node": node, "tools": str(tools), "seconds": seconds}
            (run / f"{STATE}.new").write_text(json.dumps(state))
            (run / f"{STATE}.new").rename(run / STATE)
            while True:
                serve_one(server, processes)
                processes.check()
    except ClusterError as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    finally:
        processes.stop_all()


def serve_one(server: socket.socket, processes: Processes) -> None:
    """Take one order, `{"do": "stop", "program": "kube-apiserver"}`, if one comes in time."""
    try:
        connection, _ = server.accept()
    except TimeoutError:
        return
    with connection:
        connection.settimeout(_CHECK_SECONDS)
        try:
            obey(json.loads(connection.makefile().readline()), processes)
            answer = {}
        except (ClusterError, KeyError, ValueError, TimeoutError) as error:
            answer = {"error": str(error)}
        connection.sendall(json.dumps(answer).encode() + b"\n")


def obey(order: dict[str, str], processes: Processes) -> None:
    """Raises ClusterError or KeyError for what cannot be done."""
    verbs: dict[str, Callable[[str], None]] = {
        "stop": processes.stop,
        "start": processes.start_again,
        "freeze": lambda name: processes.signal(name, signal.SIGSTOP),
        "thaw": lambda name: processes.signal(name, signal.SIGCONT),
    }
    if order["do"] not in verbs:
        raise ClusterError(f"no order {order['do']}; there are {', '.join(verbs)}")
    verbs[order["do"]](order["program"])


def give(run: Path, do: str, program: str) -> None:
    """Give an order to the supervisor of a running cluster and wait until it is done.

    Raises:
        ClusterError: it refused, or there is none.
    """
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(30)
            client.connect(str(run / SOCKET))
            client.sendall(json.dumps({"do": do, "program": program}).encode() + b"\n")
            answer = json.loads(client.makefile().readline() or "{}")
    except OSError as error:
        raise ClusterError(f"the cluster in {run} does not take orders: {error}") from None
    if "error" in answer:
        raise ClusterError(answer["error"])
