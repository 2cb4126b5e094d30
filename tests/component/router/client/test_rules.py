"""Rules, end to end: which pool a request reaches, by what it carries."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest

from component.router.client.answers import CHAT, HELLO
from component.router.client.conftest import Serve, Servers
from component.router.rig import Rig, Router, pool, route
from modelrouter.router.decisions.replies import SHARED_MS


def rule(name: str, target: str, **match: Any) -> dict[str, Any]:
    return {"name": name, "match": match, "targets": [{"pool": target}]}


def header(name: str, **condition: str) -> dict[str, Any]:
    return {"headers": [{"name": name, **condition}]}


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}


@pytest.fixture(scope="module")
def router(serve: Serve, servers: Servers) -> Router:
    """Three pools; `second` may see what is confidential."""
    first, second, third = servers
    everything = ["first", "second", "third"]
    return serve(
        pool("first", first),
        pool("second", second, dataClasses=["internal", "confidential"]),
        pool("third", third, dataClasses=["internal"]),
        route(
            "headers",
            pools=everything,
            rules=[
                rule("exact", "second", **header("x-team", exact="research")),
                rule("prefix", "third", **header("x-team", prefix="sales-")),
                rule("regex", "second", **header("x-ticket", regex="[A-Z]+-[0-9]+")),
                {
                    "name": "both",
                    "match": {
                        "headers": [
                            {"name": "x-team", "exact": "support"},
                            {"name": "X-Priority", "exact": "high"},
                        ]
                    },
                    "targets": [{"pool": "third"}],
                },
            ],
        ),
        route(
            "sizes",
            models=["plain", "special"],
            pools=everything,
            rules=[
                rule("special", "second", models=["special"], promptTokens={"max": 1000}),
                rule("long", "third", promptTokens={"min": 1000}),
            ],
        ),
        route(
            "features",
            pools=everything,
            rules=[
                rule("all", "third", features=["tools", "jsonSchema", "images"]),
                rule("tools", "second", features=["tools"]),
                rule("images", "third", features=["images"]),
                rule("schema", "second", features=["jsonSchema"]),
            ],
        ),
        route(
            "classes",
            pools=everything,
            rules=[
                {
                    **rule("confidential", "second", dataClasses=["confidential"]),
                    "failover": ["None"],
                }
            ],
        ),
    )


async def placed(http: httpx.AsyncClient, model: str, **more: Any) -> tuple[str, str]:
    """The pool and the rule of a request."""
    headers = more.pop("headers", {})
    body = {"model": model, "messages": HELLO, **more}
    answer = await http.post(CHAT, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["model"] == f"acme/{answer.headers['x-mr-pool']}"
    return answer.headers["x-mr-pool"], answer.headers["x-mr-reason"].removeprefix("rule:")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, ("first", "pools")),
        ({"x-team": "research"}, ("second", "exact")),
        ({"x-team": "Research"}, ("first", "pools")),
        ({"x-team": "research-2"}, ("first", "pools")),
        ({"X-TEAM": "research"}, ("second", "exact")),
        ({"x-team": "sales-emea"}, ("third", "prefix")),
        ({"x-team": "sales"}, ("first", "pools")),
        ({"x-ticket": "OPS-17"}, ("second", "regex")),
        ({"x-ticket": "see OPS-17"}, ("first", "pools")),
        ({"x-ticket": "OPS-17", "x-team": "sales-x"}, ("third", "prefix")),
        ({"x-team": "support"}, ("first", "pools")),
        ({"x-team": "support", "x-priority": "high"}, ("third", "both")),
    ],
    ids=str,
)
async def test_headers(
    http: httpx.AsyncClient, headers: dict[str, str], expected: tuple[str, str]
) -> None:
    """The first rule of which all conditions hold; any header may be named."""
    assert await placed(http, "headers", headers=headers) == expected


async def test_models_and_sizes(http: httpx.AsyncClient) -> None:
    """One route may serve several virtual models, and tell them apart."""
    long = [{"role": "user", "content": "word " * 1000}]
    assert await placed(http, "plain") == ("first", "pools")
    assert await placed(http, "special") == ("second", "special")
    assert await placed(http, "plain", messages=long) == ("third", "long")
    assert await placed(http, "special", messages=long) == ("third", "long")


async def test_features(http: httpx.AsyncClient) -> None:
    """What the request needs, not what the model is."""
    image = [{"role": "user", "content": [IMAGE]}]
    assert await placed(http, "features") == ("first", "pools")
    assert await placed(http, "features", tools=[TOOL]) == ("second", "tools")
    assert await placed(http, "features", tools=[]) == ("first", "pools")
    assert await placed(http, "features", messages=image) == ("third", "images")
    assert await placed(http, "features", response_format=SCHEMA) == ("second", "schema")
    json_object = {"type": "json_object"}
    assert await placed(http, "features", response_format=json_object) == ("first", "pools")
    everything = {"tools": [TOOL], "response_format": SCHEMA, "messages": image}
    assert await placed(http, "features", **everything) == ("third", "all")


async def test_data_classes(http: httpx.AsyncClient, servers: Servers) -> None:
    """Labelled data goes only where its label is allowed, whatever rules and failures say."""
    assert await placed(http, "classes") == ("first", "pools")
    confidential = {"x-data-class": "Confidential"}
    assert await placed(http, "classes", headers=confidential) == ("second", "confidential")
    pool_name, reason = await placed(http, "classes", headers={"x-data-class": "internal"})
    assert (pool_name, reason) == ("second", "pools; failover, first data-class")

    await servers.second.fault(fail_status=503)
    body = {"model": "classes", "messages": HELLO}
    answer = await http.post(CHAT, json=body, headers=confidential)
    assert answer.status_code == 503
    assert [await server.count() for server in (servers.first, servers.third)] == [1, 0]


async def test_edits_take_effect_at_once(own_rig: Rig, servers: Servers) -> None:
    """Requests that are under way while rules change are served by the one or the other.

    What was decided just before the change is shared by requests alike until its time is over.
    """
    first, second, _ = servers
    pools = [pool("first", first), pool("second", second)]

    def chat(target: str) -> dict[str, Any]:
        return route("edited", pools=["first", "second"], rules=[rule("only", target)])

    seen: Counter[str] = Counter()
    stop = asyncio.Event()

    async def ask() -> None:
        while not stop.is_set():
            seen[(await placed(http, "edited"))[0]] += 1

    router = own_rig.router(*pools, chat("first"))
    async with router.http() as http:
        asking = [asyncio.create_task(ask()) for _ in range(4)]
        for target in ("second", "first", "second"):
            await asyncio.sleep(0.1)
            await router.apply(*pools, chat(target))
            await asyncio.sleep(SHARED_MS / 1000)
            assert (await placed(http, "edited"))[0] == target
        stop.set()
        await asyncio.gather(*asking)
    assert set(seen) == {"first", "second"}


async def test_a_router_that_is_ready_asks_its_agent(own_rig: Rig, servers: Servers) -> None:
    """From the first request on nothing is placed by Envoy alone."""
    router = own_rig.router(pool("first", servers.first), route("new", pools=["first"]))
    async with router.http() as http:
        assert {await placed(http, "new") for _ in range(20)} == {("first", "pools")}
