"""Decisions that Envoy applies to other requests they hold for: nothing but the cost may differ."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from component.router.client.answers import CHAT
from component.router.client.conftest import Servers
from component.router.rig import Rig, Router, eventually, pool, route

ASKED = "modelrouter_decision_duration_seconds_count"
WINDOW = 4000
HELLO = [{"role": "user", "content": "hello"}]
IMAGE = [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]


@pytest.fixture(scope="module")
def router(running: Rig, servers: Servers) -> Router:
    """A router of its own: decisions are shared once their plans have settled, and those that it
    starts with are settled from the beginning."""
    halves = [{"pool": "first", "weight": 1}, {"pool": "second", "weight": 1}]
    router = running.router(
        pool("first", servers.first, features=["tools"], contextWindow=WINDOW),
        pool("second", servers.second, features=["tools", "jsonSchema"], contextWindow=WINDOW),
        pool("third", servers.third, dataClasses=["internal"]),
        route(
            "chat",
            pools=["first", "second", "third"],
            failover=["first", "second"],
            rules=[
                {
                    "name": "internal",
                    "match": {"dataClasses": ["internal"]},
                    "targets": [{"pool": "third"}],
                },
                {
                    "name": "team",
                    "match": {"headers": [{"name": "x-team", "prefix": "qa-"}]},
                    "targets": [{"pool": "third"}],
                },
                {
                    "name": "images",
                    "match": {"features": ["images"]},
                    "targets": [{"pool": "third"}],
                },
                {"name": "rest", "targets": halves},
            ],
            sticky={"by": "Session"},
        ),
    )

    async def known() -> bool:
        # Until endpoints have been seen, chains are not those that are foreseen.
        return await router.metric("modelrouter_pool_endpoints", state="ready") == 3

    asyncio.run(eventually(known))
    return router


@pytest.fixture
async def http(router: Router):
    async with router.http() as client:
        yield client


async def ask(http: httpx.AsyncClient, body: Any = None, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {"content": body} if isinstance(body, bytes) else {"json": body or plain()}
    return await http.post(CHAT, headers={"content-type": "application/json", **named}, **sent)


def plain(**more: Any) -> dict[str, Any]:
    return {"model": "chat", "messages": HELLO, "max_tokens": 1, **more}


async def test_most_requests_are_served_without_asking(
    router: Router, http: httpx.AsyncClient
) -> None:
    before = await router.metric(ASKED)
    answers = [await ask(http) for _ in range(200)]
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["x-mr-reason"] for answer in answers} == {"rule:rest"}
    assert await router.metric(ASKED) - before < 100


async def test_of_many_that_come_at_once_one_asks(router: Router) -> None:
    """The many come after a pause, when the decision that they share holds no more."""
    limits = httpx.Limits(max_connections=40)
    async with router.http(limits=limits) as http:
        await asyncio.gather(*(ask(http, plain(stream=True)) for _ in range(40)))
        asked, rounds = 0.0, 5
        for _ in range(rounds):
            await asyncio.sleep(0.3)
            before = await router.metric(ASKED)
            answers = await asyncio.gather(*(ask(http, plain(stream=True)) for _ in range(40)))
            assert {answer.status_code for answer in answers} == {200}
            assert {answer.headers["x-mr-reason"] for answer in answers} == {"rule:rest"}
            asked += await router.metric(ASKED) - before
    assert asked < rounds * 20


async def test_a_feature_that_all_pools_have_makes_no_difference(
    router: Router, http: httpx.AsyncClient
) -> None:
    function = {"name": "look", "parameters": {"type": "object", "properties": {}}}
    body = plain(tools=[{"type": "function", "function": function}])
    before = await router.metric(ASKED)
    answers = [await ask(http, body) for _ in range(200)]
    assert {answer.headers["x-mr-reason"] for answer in answers} == {"rule:rest"}
    assert {answer.headers["x-mr-pool"] for answer in answers} == {"first", "second"}
    assert await router.metric(ASKED) - before < 100


@pytest.mark.parametrize("where", ["first", "last", "streamed"])
async def test_a_session_stays_on_its_pool_whoever_places_it(
    http: httpx.AsyncClient, where: str
) -> None:
    # The word in the metadata makes sure that the agent is asked.
    asking = plain(metadata={"model": "x"})
    sharing = plain()
    if where == "last":
        sharing = {"messages": HELLO, "max_tokens": 1, "model": "chat"}
    elif where == "streamed":
        sharing = plain(stream=True)
    used = set()
    for number in range(40):
        session = {"x_session_id": f"session-{number}"}
        placed = [await ask(http, body, **session) for body in (asking, sharing, sharing)]
        pools = {answer.headers["x-mr-pool"] for answer in placed}
        assert len(pools) == 1
        used |= pools
    assert used == {"first", "second"}


SHARED = plain()
OTHERS = [
    pytest.param({}, {"x_data_class": "internal"}, 200, "third", "rule:internal", id="class"),
    pytest.param({}, {"x_data_class": "secret"}, 403, None, None, id="class nobody may see"),
    pytest.param({}, {"x_team": "qa-1"}, 200, "third", "rule:team", id="header"),
    pytest.param(
        {"messages": [{"role": "user", "content": IMAGE}]}, {}, 200, "third", "rule:images",
        id="image",
    ),
    pytest.param(
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}},
        {}, 200, "second", "rule:rest; first features", id="schema",
    ),
    pytest.param({"max_tokens": WINDOW}, {}, 400, None, None, id="answer too long"),
    pytest.param({"max_completion_tokens": WINDOW}, {}, 400, None, None, id="two limits"),
    pytest.param(
        {"messages": [{"role": "user", "content": "x" * 5 * WINDOW}]}, {}, 400, None, None,
        id="prompt too long",
    ),
    pytest.param({"modalities": ["audio"]}, {}, 400, None, None, id="audio"),
    pytest.param({"model": "nobody"}, {}, 404, None, None, id="unknown model"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "headers", "status", "pool_", "reason"), OTHERS)
async def test_a_request_that_differs_is_decided_by_itself(
    http: httpx.AsyncClient,
    change: dict[str, Any],
    headers: dict[str, str],
    status: int,
    pool_: str | None,
    reason: str | None,
) -> None:
    for _ in range(5):
        assert (await ask(http)).headers["x-mr-reason"] == "rule:rest"
        answer = await ask(http, plain(**change), **headers)
        assert answer.status_code == status, answer.text
        assert answer.headers.get("x-mr-pool", pool_ or "-") == (pool_ or "-")
        if reason:
            assert answer.headers["x-mr-reason"] == reason


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"chat","messages":[],"model":"nobody"}',
        b'{"model":"chat","messages":[],"mod\\u0065l":"nobody"}',
        b'{"messages":[],"metadata":{"model":"chat"},"mod\\u0065l":"nobody"}',
        b'{"model":"nobody","messages":[{"content":"x","name":"chat"}]}',
    ],
)
async def test_the_model_that_counts_is_never_mistaken(
    http: httpx.AsyncClient, body: bytes
) -> None:
    for _ in range(3):
        assert (await ask(http)).status_code == 200
        answer = await ask(http, body)
        assert answer.json()["error"]["code"] == "model_not_found"


async def test_a_nested_flag_does_not_make_a_stream(http: httpx.AsyncClient) -> None:
    for _ in range(3):
        assert (await ask(http)).status_code == 200
        answer = await ask(http, plain(metadata={"stream": True}))
        assert answer.headers["content-type"].startswith("application/json")
        answer = await ask(http, plain(stream=True, stream_options={"include_usage": True}))
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert '"usage"' in answer.text


async def test_streamed_requests_follow_a_plan_for_streams(
    router: Router, http: httpx.AsyncClient
) -> None:
    before = await router.metric(ASKED)
    for _ in range(50):
        answer = await ask(http, plain(stream=True))
        assert answer.status_code == 200
        assert answer.text.endswith("data: [DONE]\n\n")
    assert await router.metric(ASKED) - before < 40
