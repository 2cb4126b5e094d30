"""A shadow's policy sees every request of its route, and callers see nothing of it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from component.router.client.answers import CHAT
from component.router.client.conftest import Serve, Servers
from component.router.processes import ask as asked
from component.router.rig import Router, eventually, pool, route

DECISIONS = "modelrouter_shadow_decisions_total"


@pytest.fixture(scope="module")
def router(serve: Serve, servers: Servers) -> Router:
    """The shadow would send one team's requests to a pool that the route does not even have, and
    refuse labelled ones."""
    team = {"headers": [{"name": "x-team", "exact": "blue"}]}
    trial = route(
        "trial",
        pools=["first", "third"],
        shadowOf="live",
        rules=[
            {"name": "team", "match": team, "targets": [{"pool": "third"}], "failover": ["None"]}
        ],
    )
    del trial["spec"]["models"]
    return serve(
        pool("first", servers.first, dataClasses=["secret"]),
        pool("second", servers.second, dataClasses=["secret"]),
        pool("third", servers.third),
        route("live", pools=["second", "first"], failover=["None"]),
        route("apart", pools=["first"]),
        trial,
    )


async def ask(http: httpx.AsyncClient, model: str = "live", **headers: str) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return await http.post(CHAT, json=body, headers=given)


async def counted(router: Router, would: str) -> float:
    return await router.metric(DECISIONS, route="live", shadow="trial", pool="second", would=would)


async def test_a_shadow_decides_every_request_and_sends_none(
    router: Router, http: httpx.AsyncClient, servers: Servers
) -> None:
    before = {would: await counted(router, would) for would in ("first", "third")}
    for number in range(60):
        answer = await ask(http, x_team="blue" if number % 3 == 0 else "red")
        assert answer.status_code == 200
        assert answer.headers["x-mr-pool"] == "second"
        assert answer.headers["x-mr-route"] == "live"

    async def all_counted() -> bool:
        return await counted(router, "third") - before["third"] == 20

    await eventually(all_counted)
    assert await counted(router, "first") - before["first"] == 40
    assert len(await servers.second.received()) == 60
    assert await servers.first.received() == []
    assert await servers.third.received() == []


async def test_the_record_of_a_request_has_the_choice_of_the_shadow(
    router: Router, http: httpx.AsyncClient
) -> None:
    answer = await ask(http, x_team="blue")
    path = f"/recordz?request_id={answer.headers['x-request-id']}"

    async def record() -> dict[str, Any]:
        found: dict[str, Any] = await asked(router.admin_port, "GET", path, ok=(200, 404))
        return found if "shadows" in found else {}

    found = await eventually(record)
    assert found["pool"] == "second"
    assert found["shadows"] == [
        {"shadow": "trial", "pool": "third", "reason": "rule:team", "error": ""}
    ]


async def test_a_shadow_is_no_model(http: httpx.AsyncClient) -> None:
    listed = (await http.get("/v1/models")).json()["data"]
    assert {model["id"] for model in listed} == {"live", "apart"}
    assert (await ask(http, "trial")).status_code == 404


async def test_what_a_shadow_would_refuse_is_answered(
    router: Router, http: httpx.AsyncClient
) -> None:
    name, labels = "modelrouter_shadow_refusals_total", {"route": "live", "shadow": "trial"}
    before = await router.metric(name, **labels)
    answer = await ask(http, x_team="blue", x_data_class="secret")
    assert answer.status_code == 200

    async def refused() -> bool:
        return await router.metric(name, **labels) - before == 1

    await eventually(refused)


async def test_other_routes_share_their_decisions(router: Router, http: httpx.AsyncClient) -> None:
    """They are not asked about one by one because some other route has a shadow."""
    asked = "modelrouter_decision_duration_seconds_count"

    async def shares() -> bool:
        before = await router.metric(asked)
        for _ in range(20):
            await ask(http, "apart")
        return await router.metric(asked) - before < 20

    await eventually(shares, within=60)
