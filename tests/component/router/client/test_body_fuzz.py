"""Bodies that no test would think of arrive as sent, but for the model's name."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from component.router.client.answers import CHAT, JSON
from component.router.client.conftest import Serve, Servers
from component.router.rig import Received, Router, Simulator, pool, route

DROPPED = ("temperature", "logit_bias")
RENAMED = {"max_tokens": "max_completion_tokens", "usr": "user"}
MANY = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def router(serve: Serve, servers: Servers) -> Router:
    return serve(
        pool("first", servers.first),
        pool("second", servers.second, parameters={"drop": list(DROPPED), "rename": RENAMED}),
        route("plain", pools=["first"]),
        route("adapted", pools=["second"]),
    )


@pytest.fixture
def connection(router: Router) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", router.port, timeout=10)
    yield connection
    connection.close()


SPACE = st.text(" \t\r\n", max_size=2)
PIECES = (
    *("a", "é", "模", "😀", "model", "{", "}", "[", "]", ":", ",", " ", "'", "/", "-1"),
    *(r"\"", r"\\", r"\/", r"\n", r"\u0000", r"\u00e9", r"\ud83d\ude00", r"\u0022", r"\u005c"),
    *(r"\"model\"", r"\"model\":\"x\"", r"mod\u0065l", '\\\\"'.replace('"', r"\"")),
)
STRING = st.lists(st.sampled_from(PIECES), max_size=6).map(lambda parts: f'"{"".join(parts)}"')
KEYS = STRING | st.sampled_from(
    [
        *(f'"{name}"' for name in (*DROPPED, *RENAMED, *RENAMED.values())),
        *('"messages"', '"Model"', '"model "', '"models"', '"stop"', r'"t\u0065mperature"'),
    ]
)
KEY = KEYS.filter(lambda key: json.loads(key) != "model")
MODEL_KEY = st.sampled_from(['"model"', r'"mod\u0065l"', r'"\u006Dodel"'])
NUMBER = st.sampled_from(
    ["0", "-0", "1.0", "1.50", "1E5", "1e-400", "12345678901234567890123", "-9223372036854775809"]
)


def _array(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    items = st.lists(st.tuples(SPACE, inner, SPACE).map("".join), max_size=3)
    return items.map(lambda parts: f"[{','.join(parts)}]")


def _object(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    member = st.tuples(SPACE, KEY | MODEL_KEY, SPACE, st.just(":"), SPACE, inner, SPACE)
    return st.lists(member.map("".join), max_size=3).map(lambda parts: f"{{{','.join(parts)}}}")


VALUE = st.recursive(
    STRING | NUMBER | st.sampled_from(["true", "false", "null", "[]", "{}"]),
    lambda inner: _array(inner) | _object(inner),
    max_leaves=6,
)
Member = tuple[str, str, str, str, str, str]
MEMBER = st.tuples(SPACE, KEY, SPACE, SPACE, VALUE, SPACE)
EARLIER_MODEL = st.tuples(SPACE, MODEL_KEY, SPACE, SPACE, VALUE, SPACE)
THE_MODEL = st.tuples(SPACE, MODEL_KEY, SPACE, SPACE, st.just('"M"'), SPACE)
BODY = st.tuples(
    SPACE, st.lists(MEMBER | EARLIER_MODEL, max_size=4), THE_MODEL, st.lists(MEMBER, max_size=4)
)
"""White space, members before the model that counts, that one, and members after it."""


def text(body: tuple[str, list[Member], Member, list[Member]], model: str) -> bytes:
    """The body with this value of the model that counts."""
    space, before, the_model, after = body
    the_model = (*the_model[:4], json.dumps(model), the_model[5])
    members = [
        f"{a}{key}{b}:{c}{value}{d}" for a, key, b, c, value, d in (*before, the_model, *after)
    ]
    return f"{space}{{{','.join(members)}}}{space}".encode()


def passed_on(connection: http.client.HTTPConnection, server: Simulator, sent: bytes) -> Received:
    """What the server gets when this is sent to the router."""
    connection.request("POST", CHAT, sent, JSON)
    connection.getresponse().read()
    (received,) = asyncio.run(server.received(last=1))
    return received


@given(BODY)
@MANY
def test_every_byte_but_the_model(
    connection: http.client.HTTPConnection, servers: Servers, body: Any
) -> None:
    received = passed_on(connection, servers.first, text(body, "plain"))
    assert received.body == text(body, "acme/first")


@given(BODY)
@MANY
def test_every_parameter_but_the_pools(
    connection: http.client.HTTPConnection, servers: Servers, body: Any
) -> None:
    """In their order, with duplicates, and with numbers as they were written."""

    def members(content: bytes) -> list[tuple[str, Any]]:
        parsed: list[tuple[str, Any]] = json.loads(
            content, object_pairs_hook=list, parse_float=str, parse_int=str
        )
        return parsed

    sent = text(body, "adapted")
    received = passed_on(connection, servers.second, sent)
    present = {key for key, _ in members(sent)}
    expected = [
        (RENAMED.get(key, key), value)
        for key, value in members(text(body, "acme/second"))
        if key not in DROPPED and RENAMED.get(key) not in present
    ]
    assert members(received.body) == expected
    assert received.header("content-length") == str(len(received.body))
