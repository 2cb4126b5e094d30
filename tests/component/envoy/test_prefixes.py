"""Balancing by a hash keeps requests together, but never too many in one place."""

from __future__ import annotations

import asyncio
import threading
from math import ceil

import pytest

from component.envoy.backends import Connection, Request
from component.envoy.configuration import pool, route
from component.envoy.rig import Rig

ENDPOINTS = 4


class Crowd:
    """Endpoints that keep all requests waiting, and how many each has."""

    def __init__(self, rig: Rig) -> None:
        self.waiting = [0] * ENDPOINTS
        self.go_on = threading.Event()
        self.backends = [rig.backend(f"crowd-{n}", self._keep(n)) for n in range(ENDPOINTS)]

    def _keep(self, n: int):  # type: ignore[no-untyped-def]
        async def behave(connection: Connection, request: Request) -> None:
            if request.path != "/health":
                self.waiting[n] += 1
                while not self.go_on.is_set():
                    await asyncio.sleep(0.01)
                self.waiting[n] -= 1
            connection.answer()

        return behave


@pytest.mark.parametrize("prefixes", [1, 3])
def test_no_endpoint_has_much_more_than_the_mean(rig: Rig, prefixes: int) -> None:
    """Even if all prompts begin alike: at most 1.25 times the mean, in whole requests."""
    crowd = Crowd(rig)
    rig.apply(
        {"a": pool(*crowd.backends, load_balancing="PrefixHash")},
        {"r": route("a", models=["m"], request_timeout_ms=60_000)},
    )
    threads, count = [], 100
    for n in range(count):
        rig.extra_headers = f"x-mr-hash: {n % prefixes:016x}\r\n"
        threads.append(threading.Thread(target=rig.chat))
        threads[-1].start()
        rig.until(lambda n=n: sum(crowd.waiting) == n + 1 or None)  # type: ignore[misc]
        limit = 1.25 * (n + 1) / ENDPOINTS
        if n >= 20 * ENDPOINTS:
            assert max(crowd.waiting) <= limit, crowd.waiting
        elif n >= 4 * ENDPOINTS:
            assert max(crowd.waiting) <= ceil(limit) + 1, crowd.waiting
    crowd.go_on.set()
    for thread in threads:
        thread.join()


def test_a_prefix_stays_where_it_is_while_there_is_room(rig: Rig) -> None:
    backends = [rig.backend(f"room-{n}") for n in range(ENDPOINTS)]
    rig.apply({"a": pool(*backends, load_balancing="PrefixHash")}, {"r": route("a", models=["m"])})
    places: dict[int, set[str]] = {}
    for n in range(120):
        prefix = n % 30
        rig.extra_headers = f"x-mr-hash: {prefix:016x}\r\n"
        places.setdefault(prefix, set()).add(rig.chat().json["served_by"])
    assert all(len(found) == 1 for found in places.values()), places
    assert len(set.union(*places.values())) == ENDPOINTS
