"""Programs of a cluster: stopped, started again, missed when they end."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.kubernetes.ports import free_ports
from cluster.kubernetes.problems import ClusterError
from cluster.kubernetes.processes import Processes
from cluster.kubernetes.supervising import SOCKET, give, obey, serve_one


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """One program, `waiter`, that says how often it was started."""
    waiter = tmp_path / "waiter"
    waiter.write_text('#!/bin/sh\necho started with "$1"\nexec sleep 60\n')
    waiter.chmod(0o755)
    ended = tmp_path / "ended"
    ended.write_text("#!/bin/sh\necho no luck\nexit 3\n")
    ended.chmod(0o755)
    found = Processes(tmp_path, tmp_path)
    yield found
    found.stop_all()


def test_a_stopped_program_starts_again_as_it_was(processes: Processes) -> None:
    log = processes.logs / "waiter.log"
    processes.start("waiter", ["blue"])
    processes.wait("the first start", lambda: log.read_text().count("with blue") == 1)
    obey({"do": "stop", "program": "waiter"}, processes)
    processes.check()  # nobody misses what was stopped
    obey({"do": "start", "program": "waiter"}, processes)
    processes.wait("the second start", lambda: log.read_text().count("with blue") == 2)
    obey({"do": "start", "program": "waiter"}, processes)
    assert log.read_text().count("with blue") == 2


def test_a_program_that_ends_is_missed_with_its_last_words(processes: Processes) -> None:
    processes.start("ended", [])
    with pytest.raises(ClusterError, match=r"ended ended with 3: (?s:.*)no luck"):
        processes.wait("never", lambda: False)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ({"do": "stop", "program": "nothing"}, "no program nothing"),
        ({"do": "paint", "program": "waiter"}, "no order paint"),
        ({"do": "freeze", "program": "waiter"}, "waiter does not run"),
    ],
)
def test_what_cannot_be_done_is_refused(
    processes: Processes, order: dict[str, str], message: str
) -> None:
    processes.start("waiter", [])
    processes.stop("waiter")
    with pytest.raises(ClusterError, match=message):
        obey(order, processes)


def test_orders_come_over_a_socket_and_errors_go_back(processes: Processes, tmp_path: Path) -> None:
    processes.start("waiter", [])
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / SOCKET))
        server.listen()
        server.settimeout(10)
        refused: list[str] = []

        def order() -> None:
            give(tmp_path, "stop", "waiter")
            try:
                give(tmp_path, "stop", "nothing")
            except ClusterError as error:
                refused.append(str(error))

        client = threading.Thread(target=order)
        client.start()
        serve_one(server, processes)
        serve_one(server, processes)
        client.join(10)
    assert refused == ["no program nothing here; there are waiter"]
    with pytest.raises(ClusterError, match="does not run"):
        obey({"do": "freeze", "program": "waiter"}, processes)


def test_without_a_supervisor_the_message_says_so(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="does not take orders"):
        give(tmp_path, "stop", "waiter")


def test_nonsense_is_answered_and_not_fatal(processes: Processes, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(tmp_path / SOCKET))
        server.listen()
        client.connect(str(tmp_path / SOCKET))
        client.sendall(b"hello\n")
        serve_one(server, processes)
        assert "error" in json.loads(client.makefile().readline())


def test_ports_are_free_and_differ() -> None:
    ports = free_ports(3)
    assert len(set(ports)) == 3
    for port in ports:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
