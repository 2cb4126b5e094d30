"""What backends are sent: their own model name, their own key, and nothing of the router's."""

from __future__ import annotations

import json

import pytest

from component.envoy.backends import Backend, status
from component.envoy.configuration import EJECTION, pool, route
from component.envoy.rig import CHAT, Rig

SECRETS = {"keys": {"a": "sk-a", "b": "sk-b"}}


def keyed(backend: Backend, key: str, **more: object) -> dict[str, object]:
    return pool(backend, credential={"secret": "keys", "key": key}, **more)


def upstream(backend: Backend, prefix: str, **more: object) -> dict[str, object]:
    server = {"host": "localhost", "port": backend.port, "tls": False, "path_prefix": prefix}
    return {"model": "real", "upstream": server, "ejection": EJECTION, **more}


BODIES = [
    (b'{"model":"m"}', b'{"model":"real"}'),
    (b' {\n "model" :\t"m" }\n', b' {\n "model" :\t"real" }\n'),
    (b'{"a":{"model":"m"},"model":"m"}', b'{"a":{"model":"m"},"model":"real"}'),
    (b'{"model":"m","a":[{"model":"m"}]}', b'{"model":"real","a":[{"model":"m"}]}'),
    (b'{"model":"x","model":"m"}', b'{"model":"x","model":"real"}'),
    (b'{"mod\\u0065l":"m"}', b'{"mod\\u0065l":"real"}'),
    (b'{"model":"x","\\u006dodel":"m","z":0}', b'{"model":"x","\\u006dodel":"real","z":0}'),
    (b'{"model":"\\u006d"}', b'{"model":"real"}'),
    (b'{"a":"\\"model\\":","model":"m"}', b'{"a":"\\"model\\":","model":"real"}'),
    (b'{"a":"\\\\","model":"m","b":"\\\\\\""}', b'{"a":"\\\\","model":"real","b":"\\\\\\""}'),
    (
        b'{"z":1e400,"seed":18446744073709551615,"model":"m","a":-0.10,"b":[[],{}]}',
        b'{"z":1e400,"seed":18446744073709551615,"model":"real","a":-0.10,"b":[[],{}]}',
    ),
    ('{"a":"ü€😀","model":"m"}'.encode(), '{"a":"ü€😀","model":"real"}'.encode()),
    (
        b'{"a":"}{][","model":"m","b":{"c":"]}\\""}}',
        b'{"a":"}{][","model":"real","b":{"c":"]}\\""}}',
    ),
]


@pytest.mark.parametrize(("sent", "expected"), BODIES)
def test_only_the_model_changes(rig: Rig, sent: bytes, expected: bytes) -> None:
    a = rig.backend("a")
    rig.apply({"a": pool(a)}, {"r": route("a", models=["m"])})
    assert rig.request(body=sent).status == 200
    assert a.requests[0].body == expected
    assert a.requests[0].header("content-length") == str(len(expected))


@pytest.mark.parametrize(("sent", "expected"), BODIES)
def test_only_the_model_changes_without_the_agent(rig: Rig, sent: bytes, expected: bytes) -> None:
    a = rig.backend("a")
    rig.apply({"a": pool(a)}, {"r": route("a", models=["m"])})
    rig.kill_agent()
    try:
        assert rig.request(body=sent).status == 200
    finally:
        rig.restart_agent()
    assert a.requests[0].body == expected


def test_the_place_of_the_model_as_the_agent_tells_it(rig: Rig) -> None:
    a, b = rig.backend("a", status(500)), rig.backend("b")
    rig.apply(
        {"a": pool(a, model="real a"), "b": pool(b, model='"b"')},
        {"r": route("a", "b", models=["m"])},
    )
    rig.extra_headers = "x-mr-span: 15,18\r\n"
    assert rig.request(body=b'{"a":0,"model":"m","b":0}').status == 200
    assert a.requests[0].body == b'{"a":0,"model":"real a","b":0}'
    assert b.requests[0].body == b'{"a":0,"model":"\\"b\\"","b":0}'
    for request in (a.requests[0], b.requests[0]):
        assert request.header("content-length") == str(len(request.body))


@pytest.mark.parametrize("span", ["", "x-mr-span: 9,12\r\n"])
def test_parameters(rig: Rig, span: str) -> None:
    a, b, c = rig.backend("a", status(500)), rig.backend("b", status(500)), rig.backend("c")
    rig.apply(
        {
            "a": pool(a, model="A", parameters={"drop": ["temperature", "top_p"]}),
            "b": pool(
                b, model="BB", parameters={"rename": {"max_tokens": "max_completion_tokens"}}
            ),
            "c": pool(c, model="CCC"),
        },
        {"r": route("a", "b", "c", models=["m"])},
    )
    rig.extra_headers = span
    sent = b'{"model":"m", "temperature": 0.2, "x":{"temperature":1} ,"max_tokens":5, "top_p":1}'
    assert rig.request(body=sent).status == 200
    assert a.requests[0].body == b'{"model":"A", "x":{"temperature":1} ,"max_tokens":5}'
    assert b.requests[0].body == (
        b'{"model":"BB", "temperature": 0.2, "x":{"temperature":1} ,'
        b'"max_completion_tokens":5, "top_p":1}'
    )
    assert c.requests[0].body == sent.replace(b'"m"', b'"CCC"')
    for request in (a.requests[0], b.requests[0], c.requests[0]):
        assert request.header("content-length") == str(len(request.body))


def test_a_parameter_that_is_there_under_both_names(rig: Rig) -> None:
    a = rig.backend("a")
    rename = {"rename": {"max_tokens": "max_completion_tokens"}}
    rig.apply({"a": pool(a, parameters=rename)}, {"r": route("a", models=["m"])})
    sent = b'{"max_tokens":1,"max_completion_tokens":2,"model":"m"}'
    assert rig.request(body=sent).status == 200
    assert a.requests[0].body == b'{"max_completion_tokens":2,"model":"real"}'


def test_dropping_everything_but_the_model(rig: Rig) -> None:
    a = rig.backend("a")
    drop = {"drop": ["x", "y", "z"]}
    rig.apply({"a": pool(a, parameters=drop)}, {"r": route("a", models=["m"])})
    assert rig.request(body=b'{"x":1,"model":"m","y":{},"z":[1]}').status == 200
    assert a.requests[0].body == b'{"model":"real"}'


CLIENT_SECRETS = {
    "authorization": "Bearer client",
    "proxy_authorization": "Basic client",
    "api_key": "client",
    "x_api_key": "client",
    "cookie": "client=1",
    "openai_organization": "client",
    "openai_project": "client",
}


def test_keys_stay_with_their_pools(rig: Rig) -> None:
    a, b, c, d = (rig.backend(name, status(500)) for name in "abcd")
    rig.apply(
        {"a": keyed(a, "a"), "b": pool(b), "c": keyed(c, "b"), "d": pool(d)},
        {"r": route("a", "b", "c", "d", models=["m"])},
        SECRETS,
    )
    assert rig.chat(**CLIENT_SECRETS).status == 500
    assert a.requests[0].header("authorization") == "Bearer sk-a"
    assert b.requests[0].header("authorization") is None
    assert c.requests[0].header("authorization") == "Bearer sk-b"
    assert d.requests[0].header("authorization") is None
    for backend in (a, b, c, d):
        sent = [value for _, value in backend.requests[0].headers]
        assert not [value for value in sent if "client" in value]


def test_a_key_that_changes(rig: Rig) -> None:
    a = rig.backend("a")
    for value in ("one", "two"):
        rig.apply({"a": keyed(a, "a")}, {"r": route("a", models=["m"])}, {"keys": {"a": value}})
        a.requests.clear()
        assert rig.until(lambda: rig.chat().status == 200 or None)
        rig.until(
            lambda value=value: (
                (rig.chat() and a.requests[-1].header("authorization") == f"Bearer {value}") or None
            )
        )


def test_a_pool_without_its_key_gets_nothing(rig: Rig) -> None:
    a, b = rig.backend("a"), rig.backend("b")
    rig.apply({"a": keyed(a, "a"), "b": pool(b)}, {"r": route("a", "b", models=["m"])})
    assert rig.chat().headers["x-mr-pool"] == "b"
    assert not a.requests


def test_nothing_of_the_router_gets_out(rig: Rig) -> None:
    a, b = rig.backend("a", status(429)), rig.backend("b")
    rig.apply({"a": pool(a), "b": pool(b)}, {"r": route("a", "b", models=["m"])})
    sent = {
        "x_mr_chain": "b",
        "x_mr_plan": "b;0.0.0;",
        "x_mr_ready": "a",
        "x_mr_anything": "1",
        "x_envoy_max_retries": "0",
        "x_envoy_upstream_rq_timeout_ms": "1",
        "x_envoy_retry_on": "5xx",
        "x_other": "stays",
    }
    rig.until(lambda: (rig.chat() and rig.agent.requests) or None)  # back after its absence
    for known in (None, set[str]()):
        rig.known = known
        a.requests.clear()
        b.requests.clear()
        answer = rig.chat(**sent)
        assert (answer.status, answer.headers["x-mr-attempts"]) == (200, "2")
        for request in (a.requests[0], b.requests[0]):
            names = [name for name, _ in request.headers]
            assert not [name for name in names if name.startswith(("x-mr-", "x-envoy-"))]
            assert request.header("x-other") == "stays"
            assert json.loads(request.body)["model"] == "real"
    assert not [name for name in answer.headers if name.startswith("x-envoy-")]
    # What the agent was asked last, also without them.
    names = {name for name, _ in rig.agent.requests[-1].headers}
    assert names.isdisjoint(name.replace("_", "-") for name in sent if name != "x_other")


def test_paths_and_hosts_of_providers(rig: Rig) -> None:
    a, b, c, d = (rig.backend(name, status(500)) for name in "abcd")
    patient = {**EJECTION, "consecutive_errors": 1000}
    rig.apply(
        {
            "a": upstream(a, "/some/prefix/v1", ejection=patient),
            "b": pool(b, ejection=patient),
            "c": upstream(c, "/v1/openai", ejection=patient),
            "d": upstream(d, "", ejection=patient),
        },
        {"r": route("a", "b", "c", "d", models=["m"])},
    )
    # Names are resolved in the background.
    rig.until(lambda: (rig.chat() and a.requests and c.requests and d.requests) or None)
    for path, operation in (
        (CHAT, "/chat/completions"),
        ("/v1/completions?x=/v1/y", "/completions?x=/v1/y"),
        ("/v1/embeddings", "/embeddings"),
    ):
        for backend in (a, b, c, d):
            backend.requests.clear()
        assert rig.request(path=path, body={"model": "m"}).headers["x-mr-pool"] == "d"
        assert a.requests[0].path == "/some/prefix/v1" + operation
        assert b.requests[0].path == "/v1" + operation
        assert c.requests[0].path == "/v1/openai" + operation
        assert d.requests[0].path == operation
        assert a.requests[0].header("host") == f"localhost:{a.port}"
        assert b.requests[0].header("host") == b.address
        assert c.requests[0].header("host") == f"localhost:{c.port}"
