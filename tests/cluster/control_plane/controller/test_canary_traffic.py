"""A canary judged by what real routers measure of real requests."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from cluster.control_plane.controller.operators import Operator
from cluster.control_plane.controller.resources import Resources
from cluster.control_plane.controller.routerpods import RouterPods
from cluster.control_plane.controller.waiting import eventually
from component.router.manifests import pool, route
from component.router.simulators import Simulator

PACE = ("--first-token", "0", "--per-token", "0")


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[dict[str, Simulator]]:
    """The stable pool's server and the candidate's."""
    made = {name: Simulator(tmp_path, name, PACE, "m").start() for name in ("old", "new")}
    yield made
    for server in made.values():
        server.stop()


@contextmanager
def requests(*urls: str) -> Iterator[list[int]]:
    """Clients that ask all the time; the statuses of their answers."""
    statuses: list[int] = []
    over = threading.Event()

    def ask(url: str) -> None:
        body = {"model": "chat", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}
        with httpx.Client(timeout=30) as client:
            while not over.is_set():
                answer = client.post(f"{url}/v1/chat/completions", json=body)
                statuses.append(answer.status_code)
                over.wait(0.02)

    with ThreadPoolExecutor() as clients:
        asking = [clients.submit(ask, url) for url in urls for _ in range(2)]
        try:
            yield statuses
        finally:
            over.set()
            for client in asking:
                client.result(60)


def canary(**given: Any) -> dict[str, Any]:
    analysis = {
        "interval": "1s",
        "minRequests": 20,
        "checks": [{"metric": "successRate", "min": "0.9"}],
        "hardLimits": [{"metric": "errorRate", "max": "0.5", "minRequests": 10}],
    }
    steps = [{"weight": 30, "pause": "3s"}, {"weight": 60, "pause": "3s"}]
    spec = {"from": "old", "to": "new", "steps": steps, "analysis": analysis, **given}
    return route("chat", pools=["old", "new"], canary=spec)


def phase(here: Resources) -> tuple[str, int]:
    found = here.get("mroute", "chat").get("status", {}).get("canary", {})
    return found.get("phase", ""), found.get("weight", -1)


def test_a_candidate_proves_itself_by_real_requests_and_another_is_caught(
    operator: Operator,
    resources: Resources,
    router_pods: RouterPods,
    servers: dict[str, Simulator],
) -> None:
    here = resources
    here.apply(*(pool(name, server, model="m") for name, server in servers.items()))
    here.apply(route("chat", pools=["old", "new"]))
    pods = router_pods.start(2)
    here.expect("mroute", "chat", within=60, Ready=("True", "Ready"))
    with requests(*(pod.url for pod in pods)) as statuses:
        here.apply(canary())
        eventually(lambda: phase(here) == ("Promoted", 100), within=120)
        here.expect("mroute", "chat", Programmed=("True", "Programmed"))
        eventually(lambda: not _gets(servers["old"]))

        # Again, with a candidate that fails from now on: the callers do not notice.
        asyncio.run(servers["new"].fault(fail_rate=1.0))
        here.apply(canary(aborted=True))
        eventually(lambda: phase(here) == ("Aborted", 0))
        here.apply(canary())
        eventually(lambda: phase(here) == ("RolledBack", 0), within=60)
        # An ejected candidate fails less: the check may be the first to see it.
        message = here.get("mroute", "chat")["status"]["canary"]["message"]
        assert "hard limit" in message or "successRate" in message
    assert set(statuses) == {200}
    assert len(statuses) > 100


def _gets(server: Simulator) -> bool:
    """Whether a server gets requests."""
    before = asyncio.run(server.count())
    time.sleep(1)
    return asyncio.run(server.count()) > before
