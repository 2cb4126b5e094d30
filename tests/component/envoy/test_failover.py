"""Requests find the next pool of their chain, whatever happens to the pools before."""

from __future__ import annotations

import json
import time

import pytest

from component.envoy.backends import Backend, status
from component.envoy.configuration import EJECTION, pool, route
from component.envoy.rig import Rig

PROBE = {
    "path": "/health",
    "interval_ms": 100,
    "timeout_ms": 100,
    "unhealthy_threshold": 1,
    "healthy_threshold": 1,
}


def test_a_plain_request(rig: Rig) -> None:
    a = rig.backend("a")
    rig.apply({"a": pool(a)}, {"r": route("a", models=["m"])})
    answer = rig.chat()
    assert answer.status == 200, rig.log
    assert answer.json["served_by"] == "a"
    assert answer.headers["x-mr-pool"] == "a"
    assert answer.headers["x-mr-attempts"] == "1"
    assert answer.headers["x-mr-route"] == "r"
    assert answer.headers["x-mr-reason"] == "rule:default"
    assert answer.headers["x-request-id"]
    assert json.loads(a.requests[0].body)["model"] == "real"


@pytest.mark.parametrize("code", [500, 503, 429])
def test_an_error_goes_to_the_next_pool(rig: Rig, code: int) -> None:
    a, b = rig.backend("a", status(code)), rig.backend("b")
    rig.apply({"a": pool(a), "b": pool(b)}, {"r": route("a", "b", models=["m"])})
    answer = rig.chat()
    assert (answer.status, answer.json["served_by"]) == (200, "b")
    assert answer.headers["x-mr-pool"] == "b"
    assert answer.headers["x-mr-attempts"] == "2"


def test_client_errors_are_not_tried_again(rig: Rig) -> None:
    a, b = rig.backend("a", status(400)), rig.backend("b")
    rig.apply({"a": pool(a), "b": pool(b)}, {"r": route("a", "b", models=["m"])})
    assert rig.chat().status == 400
    assert not b.requests


def test_a_refused_connection_goes_to_the_next_pool(rig: Rig) -> None:
    a, b = rig.backend("a"), rig.backend("b")
    rig.apply({"a": pool(a), "b": pool(b)}, {"r": route("a", "b", models=["m"])})
    rig.stop(a)
    answer = rig.chat()
    assert (answer.status, answer.headers["x-mr-attempts"]) == (200, "2")


@pytest.mark.parametrize("agent", ["alive", "dead"])
@pytest.mark.parametrize("way", ["planned", "unplanned"])
def test_a_pool_without_endpoints(rig: Rig, agent: str, way: str) -> None:
    b = rig.backend("b")
    rig.apply({"a": pool(), "b": pool(b)}, {"r": route("a", "b", models=["m"])})
    if way == "unplanned":
        rig.known = set()
    if agent == "dead":
        rig.kill_agent()
    try:
        answer = rig.chat()
    finally:
        if agent == "dead":
            rig.restart_agent()
    assert answer.status == 200
    assert answer.headers["x-mr-pool"] == "b"
    assert answer.headers["x-mr-attempts"] == "2"
    assert "x-mr-void" not in answer.headers


def test_no_pool_has_endpoints(rig: Rig) -> None:
    rig.apply({"a": pool(), "b": pool()}, {"r": route("a", "b", models=["m"])})
    for _ in range(20):  # never ejected, however often it answers
        answer = rig.chat()
        assert answer.status == 503
        assert answer.error["code"] == "no_healthy_endpoint"
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["x-mr-attempts"] == "2"
        assert "x-mr-void" not in answer.headers
        assert "x-mr-pool" not in answer.headers


def failing_until_ejected(rig: Rig, backend: Backend) -> None:
    """Send requests until the backend gets no more of them."""
    for _ in range(30):
        before = len(backend.requests)
        rig.chat()
        if len(backend.requests) == before:
            return
    raise AssertionError("never ejected")


def test_every_endpoint_ejected(rig: Rig) -> None:
    a, b = rig.backend("a", status(500)), rig.backend("b")
    rig.apply({"a": pool(a), "b": pool(b)}, {"r": route("a", "b", models=["m"])})
    failing_until_ejected(rig, a)
    for _ in range(20):
        answer = rig.chat()
        assert (answer.status, answer.headers["x-mr-pool"]) == (200, "b")


def test_every_endpoint_ejected_in_the_only_pool(rig: Rig) -> None:
    a = rig.backend("a", status(500))
    rig.apply({"a": pool(a)}, {"r": route("a", models=["m"])})
    failing_until_ejected(rig, a)
    for _ in range(20):
        answer = rig.chat()
        assert (answer.status, answer.error["code"]) == (503, "no_healthy_endpoint")


def test_refusing_endpoints_are_ejected(rig: Rig) -> None:
    a, b = rig.backend("a"), rig.backend("b")
    rig.apply({"a": pool(a), "b": pool(b)}, {"r": route("a", "b", models=["m"])})
    rig.stop(a)
    for _ in range(5):
        assert rig.chat().headers["x-mr-pool"] == "b"
    rig.start(a)
    assert rig.chat().headers["x-mr-pool"] == "b"
    assert not a.requests


def test_failing_health_checks(rig: Rig) -> None:
    a, b = rig.backend("a", status(500)), rig.backend("b")
    rig.apply(
        {"a": pool(a, probe=PROBE), "b": pool(b, probe=PROBE)},
        {"r": route("a", "b", models=["m"])},
    )
    rig.until(lambda: rig.chat().headers["x-mr-attempts"] == "2" or None)
    time.sleep(0.3)
    a.requests.clear()
    assert rig.chat().headers["x-mr-pool"] == "b"
    assert not [request for request in a.requests if request.path != "/health"]


def test_one_healthy_endpoint_keeps_everything(rig: Rig) -> None:
    backends = [rig.backend(str(n)) for n in range(4)]
    rig.apply({"a": pool(*backends, probe=PROBE)}, {"r": route("a", models=["m"])})
    for backend in backends[1:]:
        rig.stop(backend)
    time.sleep(0.4)
    for _ in range(40):
        answer = rig.chat()
        assert (answer.status, answer.headers["x-mr-attempts"]) == (200, "1")


def test_a_second_attempt_takes_another_endpoint(rig: Rig) -> None:
    bad, good = rig.backend("bad", status(500)), rig.backend("good")
    ejection = {**EJECTION, "consecutive_errors": 100}
    retry = {"attempts_per_pool": 2, "triggers": ["5xx"]}
    rig.apply(
        {"a": pool(bad, good, ejection=ejection)}, {"r": route("a", models=["m"], retry=retry)}
    )
    for _ in range(20):
        assert rig.chat().json["served_by"] == "good"
    assert bad.requests


def test_a_slow_first_byte_goes_to_the_next_pool(rig: Rig) -> None:
    a, b = rig.backend("a", lambda connection, request: None), rig.backend("b")
    retry = {"attempts_per_pool": 1, "triggers": ["5xx"], "per_try_timeout_ms": 200}
    rig.apply({"a": pool(a), "b": pool(b)}, {"r": route("a", "b", models=["m"], retry=retry)})
    assert rig.chat().headers["x-mr-pool"] == "b"


def test_names_that_dns_does_not_know(rig: Rig) -> None:
    b = rig.backend("b")
    lost = {"model": "x", "addresses": ["nowhere.invalid:80"], "ejection": EJECTION}
    rig.apply({"a": lost, "b": pool(b)}, {"r": route("a", "b", models=["m"])})
    answer = rig.chat()
    assert (answer.status, answer.headers["x-mr-pool"]) == (200, "b")


def test_names_that_dns_knows(rig: Rig) -> None:
    b = rig.backend("b")
    named = {"model": "x", "addresses": [f"localhost:{b.port}"], "ejection": EJECTION}
    rig.apply({"b": named}, {"r": route("b", models=["m"])})
    assert rig.until(lambda: rig.chat().headers.get("x-mr-pool")) == "b"
    assert b.requests[0].header("host") == f"localhost:{b.port}"
