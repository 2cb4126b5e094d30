"""How requests that may go to several places are shared among them."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import httpx
import pytest

from component.router.client.answers import CHAT, HELLO
from component.router.client.conftest import Serve, Servers
from component.router.rig import Router, eventually, pool, route

AT_ONCE = 16


@pytest.fixture(scope="module")
def router(serve: Serve, servers: Servers) -> Router:
    first, second, third = servers
    shared = [{"pool": "first", "weight": 1}, {"pool": "second", "weight": 1}]
    same = {"model": "common"}
    return serve(
        pool("first", first),
        pool("second", second),
        pool("full", first, maxConcurrentRequests=2),
        pool("spare", second, maxConcurrentRequests=2),
        pool("by-session", first, second, third, **same, loadBalancing="SessionHash"),
        pool("by-prefix", first, second, third, **same, loadBalancing="PrefixHash"),
        pool("in-turn", first, second, third, **same, loadBalancing="RoundRobin"),
        route(
            "weighted",
            pools=["first", "second"],
            rules=[
                {
                    "name": "canary",
                    "targets": [{"pool": "first", "weight": 90}, {"pool": "second", "weight": 10}],
                }
            ],
        ),
        route(
            "sessions",
            pools=["first", "second"],
            rules=[{"name": "all", "targets": shared}],
            sticky={"by": "Session", "header": "x-conversation"},
        ),
        route(
            "prefixes",
            pools=["first", "second"],
            rules=[{"name": "all", "targets": shared}],
            sticky={"by": "Prefix"},
        ),
        route("full", pools=["full", "spare"]),
        route("by-session", pools=["by-session"]),
        route("by-prefix", pools=["by-prefix"]),
        route("in-turn", pools=["in-turn"]),
    )


async def ask(http: httpx.AsyncClient, model: str, **more: Any) -> httpx.Response:
    """One request, as short as can be."""
    headers = more.pop("headers", {})
    body = {"model": model, "messages": HELLO, "max_tokens": 1, **more}
    answer = await http.post(CHAT, json=body, headers=headers)
    return answer


async def spread(
    http: httpx.AsyncClient, model: str, requests: Iterable[dict[str, Any]], at_once: int = AT_ONCE
) -> dict[int, tuple[str, str]]:
    """The pool, and the server within it, of each request; several are under way at a time."""
    found: dict[int, tuple[str, str]] = {}
    waiting = iter(list(enumerate(requests)))

    async def worker() -> None:
        for number, more in waiting:
            answer = await ask(http, model, **more)
            assert answer.status_code == 200, answer.text
            server = answer.json()["system_fingerprint"]
            found[number] = (answer.headers["x-mr-pool"], server)

    await asyncio.gather(*(worker() for _ in range(at_once)))
    return found


async def test_weights(http: httpx.AsyncClient) -> None:
    """Of 1,000 requests a tenth, give or take four standard deviations."""
    found = await spread(http, "weighted", [{}] * 1000)
    shares = Counter(pool_name for pool_name, _ in found.values())
    assert set(shares) == {"first", "second"}
    assert 62 <= shares["second"] <= 138


async def test_a_session_stays_on_its_pool(http: httpx.AsyncClient) -> None:
    """And sessions are spread. Other routes' session header counts nothing here."""
    requests = [
        {"headers": {"x-conversation": f"session {number % 40}", "x-session-id": f"{number}"}}
        for number in range(200)
    ]
    found = await spread(http, "sessions", requests)
    pools: dict[int, set[str]] = defaultdict(set)
    for number, (pool_name, _) in found.items():
        pools[number % 40].add(pool_name)
    assert all(len(used) == 1 for used in pools.values())
    shares = Counter(next(iter(used)) for used in pools.values())
    assert min(shares["first"], shares["second"]) >= 8


async def test_without_a_session_requests_stand_for_themselves(http: httpx.AsyncClient) -> None:
    found = await spread(http, "sessions", [{}] * 100)
    shares = Counter(pool_name for pool_name, _ in found.values())
    assert min(shares["first"], shares["second"]) >= 25


async def test_a_session_moves_when_its_pool_fails_and_comes_back(
    http: httpx.AsyncClient, servers: Servers
) -> None:
    headers = {"x-conversation": "a wandering one"}
    home = (await ask(http, "sessions", headers=headers)).headers["x-mr-pool"]
    server = servers.first if home == "first" else servers.second
    await server.fault(fail_status=503)
    moved = await ask(http, "sessions", headers=headers)
    assert moved.status_code == 200
    assert moved.headers["x-mr-pool"] != home
    await server.fault()
    back = await ask(http, "sessions", headers=headers)
    assert back.headers["x-mr-pool"] == home


def turns(topic: int, count: int) -> list[dict[str, str]]:
    """A conversation that has gone on for so many turns."""
    messages = [
        {"role": "system", "content": "You are helpful. " * 20},
        {"role": "user", "content": f"Tell me about topic {topic}"},
    ]
    for turn in range(count):
        messages += [
            {"role": "assistant", "content": f"answer {turn}"},
            {"role": "user", "content": f"and {turn}?"},
        ]
    return messages


@pytest.mark.parametrize("model", ["prefixes", "by-prefix"])
async def test_a_conversation_stays_where_its_prompt_is_cached(
    http: httpx.AsyncClient, model: str
) -> None:
    """On its pool, or on its endpoint of the pool, however long it grows."""
    requests = [{"messages": turns(number % 30, number // 30)} for number in range(120)]
    # One by one: an endpoint that has more than its share at the moment passes some on.
    found = await spread(http, model, requests, at_once=1)
    places: dict[int, set[tuple[str, str]]] = defaultdict(set)
    for number, place in found.items():
        places[number % 30].add(place)
    assert all(len(used) == 1 for used in places.values())
    assert len({place for used in places.values() for place in used}) == (
        2 if model == "prefixes" else 3
    )


async def test_a_session_stays_on_its_endpoint(http: httpx.AsyncClient) -> None:
    requests = [{"headers": {"x-session-id": f"session {n % 40}"}} for n in range(160)]
    found = await spread(http, "by-session", requests, at_once=1)
    servers: dict[int, set[str]] = defaultdict(set)
    for number, (_, server) in found.items():
        servers[number % 40].add(server)
    assert all(len(used) == 1 for used in servers.values())
    assert len({server for used in servers.values() for server in used}) == 3


async def test_requests_in_turn(http: httpx.AsyncClient) -> None:
    found = await spread(http, "in-turn", [{}] * 90)
    assert set(Counter(server for _, server in found.values()).values()) == {30}


async def test_a_full_pool_leaves_the_rest_to_the_next(
    http: httpx.AsyncClient, servers: Servers
) -> None:
    """Two at a time in each of two pools; a fifth is told to come again."""
    for server in (servers.first, servers.second):
        await server.fault(first_token_ms=1500)
    under_way = []
    for number in range(4):
        under_way.append(asyncio.create_task(ask(http, "full")))

        async def arrived(number: int = number) -> bool:
            counts = [await server.count() for server in (servers.first, servers.second)]
            return sum(counts) == number + 1

        await eventually(arrived)
    refused = await ask(http, "full")
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "overloaded"
    assert int(refused.headers["retry-after"]) > 0

    answers = await asyncio.gather(*under_way)
    assert [answer.status_code for answer in answers] == [200] * 4
    pools = [answer.headers["x-mr-pool"] for answer in answers]
    assert pools == ["full", "full", "spare", "spare"]
    assert "full saturated" in answers[-1].headers["x-mr-reason"]

    for server in (servers.first, servers.second):
        await server.fault()

    async def room() -> bool:
        return (await ask(http, "full")).headers.get("x-mr-pool") == "full"

    await eventually(room)


async def test_a_burst_never_exceeds_the_limit(
    router: Router, http: httpx.AsyncClient, servers: Servers
) -> None:
    """Also when all come at the same moment: what is over is refused, not queued."""

    async def idle() -> bool:
        # The end of a request is noticed a little after its answer.
        name = "modelrouter_in_flight_requests"
        return not any([await router.metric(name, pool=pool) for pool in ("full", "spare")])

    await eventually(idle)
    for server in (servers.first, servers.second):
        await server.fault(first_token_ms=500)
        await server.forget()
    answers = await asyncio.gather(*(ask(http, "full") for _ in range(12)))
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses == {200: 4, 503: 8}
    assert await servers.first.count() == 2
    assert await servers.second.count() == 2
