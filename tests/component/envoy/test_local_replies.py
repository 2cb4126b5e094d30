"""What Envoy answers by itself, and that it always looks like an error of OpenAI's."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest

from component.envoy.configuration import pool, route
from component.envoy.rig import CHAT, Answer, Rig


def raw(rig: Rig, sent: bytes) -> Answer:
    with rig.connect() as connection:
        connection.sendall(sent)
        got = b""
        while data := connection.recv(65536):
            got += data
    head, _, body = got.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return Answer(int(first.split()[1]), headers, body)


@pytest.fixture
def served(rig: Rig) -> Rig:
    a = rig.backend("a")
    rig.apply({"a": pool(a)}, {"r": route("a", models=["m", "org/model"])})
    return rig


def test_models(served: Rig) -> None:
    answer = served.request("GET", "/v1/models")
    assert answer.status == 200
    assert answer.json["object"] == "list"
    assert [model["id"] for model in answer.json["data"]] == ["m", "org/model"]
    assert served.request("GET", "/v1/models?limit=1").json == answer.json
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    assert not [asked for asked in served.agent.requests if asked.path != "/healthz"]


@pytest.mark.parametrize("path", ["org/model", "org%2Fmodel"])
def test_one_model(served: Rig, path: str) -> None:
    answer = served.request("GET", f"/v1/models/{path}")
    assert (answer.status, answer.json["id"]) == (200, "org/model")


def test_an_unknown_model(served: Rig) -> None:
    answer = served.request("GET", "/v1/models/nothing")
    assert (answer.status, answer.error["code"]) == (404, "model_not_found")


def test_unknown_paths(served: Rig) -> None:
    answer = served.request("GET", '/v1/foo"bar')
    assert answer.status == 404
    assert answer.error["message"] == 'Invalid URL (GET /v1/foo"bar)'
    assert answer.error["type"] == "invalid_request_error"
    assert served.request("POST", "/", body={}).error["message"] == "Invalid URL (POST /)"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", CHAT, "POST"), ("DELETE", "/v1/embeddings", "POST"), ("POST", "/v1/models", "GET"),
     ("PUT", "/v1/models/m", "GET")],
)  # fmt: skip
def test_wrong_methods(served: Rig, method: str, path: str, allowed: str) -> None:
    answer = served.request(method, path)
    assert (answer.status, answer.headers["allow"]) == (405, allowed)
    assert answer.error["type"] == "invalid_request_error"
    assert not [asked for asked in served.agent.requests if asked.path != "/healthz"]


def test_audio(served: Rig) -> None:
    answer = served.request("POST", "/v1/audio/transcriptions", b"sound")
    assert (answer.status, answer.error["code"]) == (400, "unsupported_modality")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large(served: Rig, chunked: bool) -> None:
    body = json.dumps({"model": "m", "x": "x" * 5_000_000}).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    if chunked:
        sent = head.encode() + b"transfer-encoding: chunked\r\n\r\n%x\r\n" % len(body)
    else:
        sent = head.encode() + b"content-length: %d\r\n\r\n" % len(body)
    with served.connect() as connection:
        with suppress(OSError):
            connection.sendall(sent + body)
        got = connection.recv(65536)
    head_, _, rest = got.partition(b"\r\n\r\n")
    assert b" 413 " in head_.split(b"\r\n")[0]
    assert json.loads(rest)["error"]["code"] == "request_too_large"


def test_a_large_body_that_is_small_enough(served: Rig) -> None:
    assert served.request(body={"model": "m", "x": "x" * 3_900_000}).status == 200


def test_headers_that_are_too_large(served: Rig) -> None:
    answer = served.chat(x_large="x" * 100_000)
    assert (answer.status, answer.error["code"]) == (431, "headers_too_large")


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\nconnection: close\r\n\r\n",
    ],
)
def test_what_is_no_http(served: Rig, sent: bytes) -> None:
    answer = raw(served, sent)
    assert answer.status == 400
    assert answer.error["type"] == "invalid_request_error"


def test_an_answer_of_the_agent(served: Rig) -> None:
    answer = served.chat("unknown")
    assert (answer.status, answer.error["code"]) == (404, "no")
    assert answer.headers["x-request-id"]


def test_a_refusal_with_retry_after(served: Rig) -> None:
    error = {"message": "slow down", "type": "t", "param": None, "code": "rate"}
    body = json.dumps({"error": error}).encode()
    served.agent.behaviour = lambda connection, request: connection.answer(
        429, body, {"retry-after": "7", "x-mr-route": "r"}
    )
    answer = served.chat()
    assert (answer.status, answer.error["code"]) == (429, "rate")
    assert answer.headers["retry-after"] == "7"
    assert answer.headers["x-mr-route"] == "r"
    assert not [name for name in answer.headers if name.startswith("x-envoy-")]


def test_timeout_of_the_whole_request(rig: Rig) -> None:
    a = rig.backend("a", lambda connection, request: None)
    retry = {"attempts_per_pool": 1, "triggers": ["connect-failure"]}
    rig.apply({"a": pool(a)}, {"r": route("a", models=["m"], request_timeout_ms=200, retry=retry)})
    answer = rig.chat()
    assert (answer.status, answer.error["code"]) == (504, "timeout")


def test_an_endpoint_that_breaks_off(rig: Rig) -> None:
    a = rig.backend("a", lambda connection, request: connection.transport.abort())
    rig.apply({"a": pool(a)}, {"r": route("a", models=["m"])})
    answer = rig.chat()
    assert (answer.status, answer.error["code"]) == (503, "upstream_unreachable")
    assert answer.headers["retry-after"]
    assert answer.headers["x-mr-route"] == "r"


def test_request_ids(served: Rig) -> None:
    assert served.chat(x_request_id="my-own-1").headers["x-request-id"] == "my-own-1"
    answer = served.request("GET", "/nothing", x_request_id="my-own-2")
    assert answer.headers["x-request-id"] == "my-own-2"
