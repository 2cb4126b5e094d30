"""Without the agent requests go the way of their model's default."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from component.envoy.backends import status
from component.envoy.configuration import pool, route
from component.envoy.rig import CHAT, Rig


@pytest.fixture(params=["dead", "hung", "broken"])
def abandoned(rig: Rig, request: pytest.FixtureRequest) -> Iterator[Rig]:
    a, b = rig.backend("a", status(500)), rig.backend("b")
    rig.apply(
        {"a": pool(a), "b": pool(b)},
        {
            "r": route("a", "b", models=["m", 'mö"del']),
            "closed": route("b", models=["private"], fallthrough={"pools": ["b"], "closed": True}),
        },
    )
    if request.param == "dead":
        rig.kill_agent()
    elif request.param == "hung":
        rig.agent.behaviour = lambda connection, request: None
    else:
        rig.agent.behaviour = lambda connection, request: connection.answer(
            500, b"oops", {"content-type": "text/plain"}
        )
    yield rig
    if request.param == "dead":
        rig.restart_agent()


def test_the_default_chain(abandoned: Rig) -> None:
    answer = abandoned.chat()
    assert (answer.status, answer.headers["x-mr-pool"]) == (200, "b")
    assert answer.headers["x-mr-attempts"] == "2"
    assert answer.headers["x-mr-route"] == "r"
    assert answer.headers["x-mr-reason"] == "fall-through"
    assert answer.headers["x-request-id"]
    assert abandoned.request(body={"model": 'mö"del'}).status == 200


def test_requests_that_cannot_go_on(abandoned: Rig) -> None:
    rig = abandoned
    answer = rig.chat("nothing")
    assert (answer.status, answer.error["code"]) == (404, "model_not_found")
    answer = rig.chat('"<\n')
    assert (answer.status, answer.error["code"]) == (404, "model_not_found")
    answer = rig.chat("private")
    assert (answer.status, answer.error["code"]) == (503, "decision_unavailable")
    assert answer.headers["retry-after"]
    answer = rig.chat(x_data_class="confidential")
    assert (answer.status, answer.error["code"]) == (503, "decision_unavailable")
    answer = rig.request(body={"messages": []})
    assert (answer.status, answer.error["code"]) == (400, "missing_model")
    answer = rig.request(body={"model": None})
    assert (answer.status, answer.error["code"]) == (400, "missing_model")


@pytest.mark.parametrize(
    "body", ["", "{", "[]", '{"model"}', '{"model":"m"', '{"model":"m"} x', '{"model":"m",}', "{,}"]
)
def test_what_is_no_json(abandoned: Rig, body: str) -> None:
    answer = abandoned.request(path=CHAT, body=body)
    assert (answer.status, answer.error["code"]) == (400, "invalid_json")


def test_recovery(rig: Rig) -> None:
    a = rig.backend("a")
    rig.apply({"a": pool(a)}, {"r": route("a", models=["m"])})
    rig.kill_agent()
    assert rig.chat().headers["x-mr-reason"] == "fall-through"
    rig.restart_agent()
    rig.until(lambda: rig.chat().headers["x-mr-reason"] == "rule:default" or None)


def test_an_agent_that_refuses_is_still_asked(rig: Rig) -> None:
    a = rig.backend("a")
    rig.apply({"a": pool(a)}, {"r": route("a", models=["m"])})
    error = {"message": "full", "type": "server_error", "param": None, "code": "full"}
    body = json.dumps({"error": error}).encode()
    rig.until(lambda: (rig.chat() and rig.agent.requests) or None)  # back after its absence
    rig.agent.behaviour = lambda connection, request: connection.answer(503, body)
    for _ in range(20):
        assert rig.chat().error["code"] == "full"


def test_an_agent_that_hangs_delays_few_requests(rig: Rig) -> None:
    a = rig.backend("a")
    rig.apply({"a": pool(a)}, {"r": route("a", models=["m"])})
    rig.until(lambda: (rig.chat() and rig.agent.requests) or None)
    rig.agent.behaviour = lambda connection, request: None
    waits = []
    for _ in range(12):
        started = time.monotonic()
        assert rig.chat().headers["x-mr-reason"] == "fall-through"
        waits.append(time.monotonic() - started)
    assert sum(wait > 0.5 for wait in waits) <= 4
