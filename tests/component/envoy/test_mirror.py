"""Copies of requests that Envoy sends to another pool: what is in them, and that nobody waits."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from component.envoy.backends import Backend, Connection, Request, status
from component.envoy.configuration import pool, route
from component.envoy.rig import CHAT, Rig
from modelrouter.router.accesslog.record import RequestRecord
from modelrouter.router.envoy import mirroring as mirroring_module
from modelrouter.router.envoy.mirror_headers import MIRRORED

OWN_KEYS = {"first-key": {"api-key": "sk-first"}, "second-key": {"api-key": "sk-second"}}


def asked(backend: Backend) -> list[Request]:
    """Requests without health checks."""
    return [request for request in backend.requests if request.method == "POST"]


def mirroring(
    rig: Rig,
    backends: dict[str, Backend],
    words: str = "second|r|",
    failover: Backend | None = None,
    **second: Any,
) -> None:
    """A route to the pool `first` with a mirror in the pool `second`."""
    pools = {
        "first": pool(backends["first"], model="one", credential=_key("first")),
        "second": {**pool(backends["second"], model="two", credential=_key("second")), **second},
    }
    order = ["first"]
    if failover is not None:
        pools["third"] = pool(failover)
        order.append("third")
    mirror = {"pool": "second"}
    chat = route(*order, models=["m"], pools=list(pools), mirror=mirror)
    rig.apply(pools, {"r": chat}, OWN_KEYS)
    rig.extra_headers = f"x-mr-mirror: {words}\r\n"


def _key(pool: str) -> dict[str, str]:
    return {"secret": f"{pool}-key", "key": "api-key"}


@pytest.fixture
def backends(rig: Rig) -> dict[str, Backend]:
    return {name: rig.backend(name) for name in ("first", "second")}


def copies(rig: Rig, backend: Backend, count: int) -> list[Request]:
    """What a backend was sent, once it is this much, and that no more comes."""
    rig.until(lambda: len(asked(backend)) >= count or None)
    time.sleep(0.2)
    found = asked(backend)
    assert len(found) == count
    return found


def silent(connection: Connection, request: Request) -> None:
    """Never answers, except to health checks."""
    if request.path == "/health":
        connection.answer()


def test_a_copy_has_the_model_and_the_key_of_its_own_pool(
    rig: Rig, backends: dict[str, Backend]
) -> None:
    mirroring(rig, backends)
    answer = rig.chat(authorization="Bearer caller", x_request_id="copied-1")
    assert answer.json["served_by"] == "first"
    (copy,) = copies(rig, backends["second"], 1)
    (original,) = asked(backends["first"])
    assert original.header("authorization") == "Bearer sk-first"
    assert copy.header("authorization") == "Bearer sk-second"
    assert b'"two"' in copy.body
    assert b'"one"' in original.body
    assert copy.header("host") == backends["second"].address
    assert copy.header("x-request-id") == "copied-1"
    assert {name for name, _ in copy.headers} == {name for name, _ in original.headers}
    for request in (copy, original):
        assert not [name for name, _ in request.headers if name.startswith(("x-mr-", "x-envoy-"))]


def test_a_copy_leaves_a_line_of_its_own(rig: Rig, backends: dict[str, Backend]) -> None:
    mirroring(rig, backends)
    rig.chat(x_request_id="copied-2")

    def lines() -> list[RequestRecord] | None:
        mine = [r for r in rig.records if r.request_id == "copied-2"]
        return mine if len(mine) == 2 else None

    by_reason = {r.reason: r for r in rig.until(lines)}
    assert set(by_reason) == {"rule:default", MIRRORED}
    copy = by_reason[MIRRORED]
    assert (copy.route, copy.pool, copy.status, copy.prompt_tokens) == ("r", "second", 200, 3)


def test_no_header_of_a_client_has_its_request_copied(
    rig: Rig, backends: dict[str, Backend]
) -> None:
    mirroring(rig, backends)
    rig.extra_headers = ""
    headers = {"x_mr_mirror": "_mirror", "x_mr_mirror_pool": "second", "x_mr_plan": "hold"}
    assert rig.chat(**headers).status == 200
    assert not copies(rig, backends["second"], 0)


def test_a_chain_without_a_plan_is_copied_too(rig: Rig, backends: dict[str, Backend]) -> None:
    mirroring(rig, backends)
    rig.known = set()
    assert rig.chat().json["served_by"] == "first"
    body = {"model": "m", "messages": [], "stream": True}
    mirroring(rig, backends, "second|r|s")
    rig.known = set()
    assert rig.request(body=body).json["served_by"] == "first"
    copies(rig, backends["second"], 2)


def test_without_the_agent_nothing_is_copied(rig: Rig, backends: dict[str, Backend]) -> None:
    mirroring(rig, backends)
    rig.kill_agent()
    try:
        assert rig.chat().headers["x-mr-reason"] == "fall-through"
        assert not copies(rig, backends["second"], 0)
    finally:
        rig.restart_agent()


def test_a_retried_request_is_copied_once(rig: Rig, backends: dict[str, Backend]) -> None:
    backends["first"].behaviour = status(500)
    third = rig.backend("third")
    mirroring(rig, backends, failover=third)
    assert rig.chat().json["served_by"] == "third"
    copies(rig, backends["second"], 1)


def test_a_copy_gets_one_attempt(rig: Rig, backends: dict[str, Backend]) -> None:
    backends["second"].behaviour = status(503)
    mirroring(rig, backends)
    assert rig.chat().status == 200
    copies(rig, backends["second"], 1)


def test_a_copy_is_placed_by_its_session(rig: Rig, backends: dict[str, Backend]) -> None:
    others = [rig.backend(f"other-{n}") for n in range(4)]
    mirroring(
        rig,
        backends,
        addresses=[backend.address for backend in (backends["second"], *others)],
        load_balancing="SessionHash",
    )
    rig.extra_headers += "x-mr-hash: 8d2f\r\n"
    for _ in range(12):
        assert rig.chat().status == 200
    all_of_them = (backends["second"], *others)
    rig.until(lambda: sum(len(asked(backend)) for backend in all_of_them) == 12)
    assert sorted(len(asked(backend)) for backend in all_of_them) == [0, 0, 0, 0, 12]


def test_a_client_that_leaves_does_not_end_the_copy(rig: Rig, backends: dict[str, Backend]) -> None:
    backends["first"].behaviour = silent
    answered = threading.Event()

    async def slow(connection: Connection, request: Request) -> None:
        await asyncio.sleep(0.5)
        connection.answer()
        answered.set()

    backends["second"].behaviour = slow
    mirroring(rig, backends)
    body = json.dumps({"model": "m", "messages": []}).encode()
    with rig.connect() as client:
        head = (
            f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nx-request-id: left\r\ncontent-length: {len(body)}"
        )
        client.sendall(f"{head}\r\n\r\n".encode() + body)
        rig.until(lambda: asked(backends["second"]) or None)
    assert answered.wait(5)

    def line() -> RequestRecord | None:
        mine = [r for r in rig.records if (r.request_id, r.reason) == ("left", MIRRORED)]
        return mine[0] if mine else None

    assert rig.until(line).status == 200


@pytest.fixture
def small_rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """An Envoy that has at most three copies under way."""
    monkeypatch.setattr(mirroring_module, "MOST_COPIES", 3)
    directory = Path(tempfile.mkdtemp(prefix="mr-"))
    try:
        with Rig(directory).running() as running:
            yield running
    finally:
        shutil.rmtree(directory)


def test_a_pool_that_hangs_holds_only_so_many_copies(small_rig: Rig) -> None:
    rig = small_rig
    backends = {name: rig.backend(name) for name in ("first", "second")}
    backends["second"].behaviour = silent
    mirroring(rig, backends)
    for _ in range(10):
        assert rig.chat().json["served_by"] == "first"
    copies(rig, backends["second"], 3)
