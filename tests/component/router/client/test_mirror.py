"""Requests that are copied to another pool: what the copies are, and that no client notices."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from uuid import uuid4

import httpx
import openai
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from component.router.client.answers import CHAT
from component.router.client.conftest import Servers
from component.router.processes import ask
from component.router.rig import Received, Rig, Router, Simulator, eventually, pool, route

HELLO = [{"role": "user", "content": "hello"}]
ASKED = "modelrouter_decision_duration_seconds_count"
COPIES = "modelrouter_mirror_requests_total"


@pytest.fixture(scope="module")
def router(running: Rig, servers: Servers) -> Router:
    """A router of its own, whose plans are settled from the beginning."""
    mirrored = {
        "pools": ["first", "second"],
        "failover": ["first"],
        "rules": [
            {
                "name": "team",
                "match": {"headers": [{"name": "x-team", "exact": "qa"}]},
                "targets": [{"pool": "first"}],
            },
            {"name": "rest", "targets": [{"pool": "first"}]},
        ],
    }
    halves = [{"pool": "first"}, {"pool": "second"}]
    return running.router(
        pool("first", servers.first, dataClasses=["internal", "secret"]),
        pool(
            "second",
            servers.second,
            dataClasses=["internal"],
            contextWindow=500,
            features=["tools"],
            parameters={"drop": ["temperature", "seed"]},
            price={"input": "1", "output": "2"},
            outlierDetection={"baseEjectionTime": "100ms"},
        ),
        pool("third", servers.third),
        route("all", **mirrored, mirror={"pool": "second"}),
        route("some", **mirrored, mirror={"pool": "second", "percent": 20}),
        route("team", **mirrored, mirror={"pool": "second", "rule": "team"}),
        route("compared", **mirrored, mirror={"pool": "second", "compare": True}),
        route("large", pools=["first", "third"], failover=["first"], mirror={"pool": "third"}),
        route(
            "halves",
            pools=["first", "second"],
            rules=[{"name": "both", "targets": halves}],
            mirror={"pool": "second"},
        ),
    )


@pytest.fixture(autouse=True)
async def _settled(router: Router) -> AsyncIterator[None]:
    """No copy of one test is counted in the next, nor lost because the pool has failed."""

    async def is_well() -> bool:
        return (await router.healthy_in_envoy())["second"] == 1

    await eventually(is_well, within=20)
    yield
    await all_copied(router)


async def chat(http: httpx.AsyncClient, model: str, **more: Any) -> httpx.Response:
    headers = more.pop("headers", {})
    body = {"model": model, "messages": HELLO, "max_tokens": 5, **more}
    return await http.post(CHAT, json=body, headers=headers)


async def all_copied(router: Router) -> float:
    """The number of copies, once it stays the same."""
    before = -1.0
    while (now := await router.metric(COPIES)) != before:
        before = now
        await asyncio.sleep(0.3)
    return now


async def only_copy(server: Simulator) -> Received:
    await eventually(server.count)
    (copy,) = await server.received()
    return copy


async def test_a_copy_fits_its_own_pool(servers: Servers, http: httpx.AsyncClient) -> None:
    headers = {"authorization": "Bearer caller"}
    answer = await chat(http, "all", temperature=0.3, headers=headers)
    assert answer.headers["x-mr-pool"] == "first"
    copy, original = await only_copy(servers.second), await only_copy(servers.first)
    assert copy.json == {"model": "acme/second", "messages": HELLO, "max_tokens": 5}
    assert original.json["model"] == "acme/first"
    assert original.json["temperature"] == 0.3
    assert copy.names <= original.names
    assert "authorization" not in copy.names


async def test_a_copy_of_a_stream(servers: Servers, http: httpx.AsyncClient) -> None:
    answer = await chat(http, "all", stream=True)
    assert answer.headers["x-mr-pool"] == "first"
    assert answer.text.endswith("data: [DONE]\n\n")
    assert (await only_copy(servers.second)).json["stream"] is True


async def test_figures_of_copies_are_apart(
    router: Router, servers: Servers, http: httpx.AsyncClient
) -> None:
    labels = {"route": "all", "pool": "second"}
    before = {name: await router.metric(name, **labels) for name in (COPIES, *COSTS)}
    requests = await router.metric("modelrouter_requests_total", route="all")
    answer = await chat(http, "all")
    used = answer.json()["usage"]
    await eventually(lambda: _more(router, COPIES, before[COPIES], **labels))
    gained = [await router.metric(name, **labels) - before[name] for name in (COPIES, *COSTS)]
    assert gained[0] == 1
    assert gained[1] == used["prompt_tokens"] + used["completion_tokens"]
    cost = (used["prompt_tokens"] + 2 * used["completion_tokens"]) / 1e6
    assert gained[2] == pytest.approx(cost)
    await eventually(lambda: _more(router, "modelrouter_requests_total", requests, route="all"))
    assert await router.metric("modelrouter_requests_total", route="all") == requests + 1
    assert await router.metric("modelrouter_requests_total", **labels) == 0
    assert await router.metric("modelrouter_tokens_total", **labels) == 0
    assert "second" not in (await router.view())["routes"]["all"]


async def test_the_tokens_of_a_copied_stream_are_counted_on_both_sides(
    router: Router, http: httpx.AsyncClient
) -> None:
    original = ("modelrouter_tokens_total", {"route": "all", "pool": "first"})
    copied = ("modelrouter_mirror_tokens_total", {"route": "all", "pool": "second"})
    before = [await router.metric(name, **labels) for name, labels in (original, copied)]
    answer = await chat(http, "all", stream=True, stream_options={"include_usage": True})
    event = next(line for line in answer.text.splitlines() if '"prompt_tokens"' in line)
    used = json.loads(event.removeprefix("data: "))["usage"]["total_tokens"]
    for (name, labels), figure in zip((original, copied), before, strict=True):
        await eventually(partial(_more, router, name, figure + used - 1, **labels))
        assert await router.metric(name, **labels) == figure + used


COSTS = ("modelrouter_mirror_tokens_total", "modelrouter_mirror_cost_dollars_total")


async def _more(router: Router, name: str, than: float, **labels: str) -> bool:
    return await router.metric(name, **labels) > than


async def test_a_share_of_the_requests_is_copied(
    router: Router, servers: Servers, http: httpx.AsyncClient
) -> None:
    before, asked = await all_copied(router), await router.metric(ASKED)
    for _ in range(25):
        await asyncio.gather(*(chat(http, "some") for _ in range(40)))
    copied = await all_copied(router) - before
    # Five standard deviations of 1,000 trials at 20 %.
    assert 137 <= copied <= 263
    assert await servers.first.count() == 1000
    assert await router.metric(ASKED) - asked < 500, "decisions were not shared"


async def test_a_request_is_copied_or_not_whoever_decides(
    servers: Servers, http: httpx.AsyncClient
) -> None:
    ids = [uuid4().hex for _ in range(60)]
    headers = [{"x-request-id": each} for each in ids]
    # A feature makes the agent decide each; the others share decisions.
    for each in headers:
        await chat(
            http, "some", headers=each, tools=[{"type": "function", "function": {"name": "f"}}]
        )
    for each in headers:
        await chat(http, "some", headers=each)
    await asyncio.sleep(0.3)
    copied = [each.header("x-request-id") for each in await servers.second.received()]
    assert copied
    assert len(copied) == 2 * len(set(copied))


async def test_only_requests_of_the_rule(servers: Servers, http: httpx.AsyncClient) -> None:
    for _ in range(3):
        await chat(http, "team")
    await chat(http, "team", headers={"x-team": "qa", "x-request-id": "of-the-team"})
    assert (await only_copy(servers.second)).header("x-request-id") == "of-the-team"


@pytest.mark.parametrize(
    ("what", "copied"),
    [
        ({"headers": {"x-data-class": "internal"}}, True),
        ({"headers": {"x-data-class": "secret"}}, False),
        ({"headers": {"x-data-class": "internal,secret"}}, False),
        ({"max_tokens": 600}, False),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, True),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}}, False),
    ],
    ids=str,
)
async def test_what_the_pool_may_not_see_is_not_copied(
    servers: Servers, http: httpx.AsyncClient, what: dict[str, Any], copied: bool
) -> None:
    # Again and again, so that shared decisions take part, among others that are copied.
    for _ in range(5):
        answers = await asyncio.gather(chat(http, "all"), chat(http, "all", user="x", **what))
        assert [answer.status_code for answer in answers] == [200, 200]
    await asyncio.sleep(0.3)
    copies = await servers.second.received()
    assert len(copies) == (10 if copied else 5)
    assert sum("user" in copy.json for copy in copies) == (5 if copied else 0)


async def test_a_pool_gets_no_copies_of_what_it_answers(
    servers: Servers, http: httpx.AsyncClient
) -> None:
    answers = [await chat(http, "halves") for _ in range(40)]
    pools = [answer.headers["x-mr-pool"] for answer in answers]
    assert set(pools) == {"first", "second"}
    await asyncio.sleep(0.3)
    assert await servers.second.count() == 40


@pytest.mark.parametrize("mode", ["hang", "reset", "stream_error", "cut_stream", "fail"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_failing_pool_costs_the_caller_nothing(
    router: Router, servers: Servers, http: httpx.AsyncClient, mode: str, stream: bool
) -> None:
    plan = {"mode": "ok", "fail_status": 500} if mode == "fail" else {"mode": mode}
    await servers.second.fault(**plan)
    retries = await router.metric("modelrouter_retries_total", route="all")
    for _ in range(10):
        answers = await asyncio.gather(*(chat(http, "all", stream=stream) for _ in range(5)))
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.headers["x-mr-attempts"] for answer in answers} == {"1"}
    assert await router.metric("modelrouter_retries_total", route="all") == retries


async def test_a_dead_pool_costs_the_caller_nothing(own_rig: Rig) -> None:
    stable, candidate = await asyncio.to_thread(own_rig.simulators, "stable", "candidate")
    router = await asyncio.to_thread(
        own_rig.router,
        pool("stable", stable),
        pool("candidate", candidate),
        route("m", pools=["stable", "candidate"], failover=["stable"],
              mirror={"pool": "candidate", "compare": True}),
    )  # fmt: skip
    candidate.kill()
    async with router.http() as http:
        for _ in range(20):
            answers = await asyncio.gather(*(chat(http, "m") for _ in range(10)))
            assert {answer.status_code for answer in answers} == {200}
    await eventually(lambda: _more(router, COPIES, 199, route="m", code="503"))
    name, labels = "modelrouter_requests_total", {"route": "m", "code": "200"}
    await eventually(lambda: _more(router, name, 199, **labels))
    assert await router.metric(name, **labels) == 200
    report = await ask(router.admin_port, "GET", "/mirrorz?route=m")
    assert report["copies"]["errors"] == 200
    copied_only = await eventually(lambda: _compared(router, "m", 200))
    assert copied_only["copyFailed"] == 200


async def test_a_large_body_is_copied(servers: Servers, http: httpx.AsyncClient) -> None:
    text = "word " * 90_000
    messages = [{"role": "user", "content": text}]
    answer = await chat(http, "large", messages=messages)
    assert answer.status_code == 200, answer.text
    assert (await only_copy(servers.third)).json["messages"] == messages


async def test_a_client_that_leaves(
    router: Router, servers: Servers, http: httpx.AsyncClient
) -> None:
    await servers.first.fault(mode="hang")
    with pytest.raises(httpx.ReadTimeout):
        await http.post(CHAT, json={"model": "all", "messages": HELLO}, timeout=0.5)
    copy = await only_copy(servers.second)
    assert copy.json["messages"] == HELLO
    await servers.first.fault()
    assert (await chat(http, "all")).status_code == 200


async def _compared(router: Router, name: str, count: int) -> dict[str, Any] | None:
    report = await ask(router.admin_port, "GET", f"/mirrorz?route={name}")
    pairs: dict[str, Any] = report["pairs"]
    return pairs if pairs["compared"] >= count else None


@pytest.mark.parametrize("stream", [False, True])
async def test_disagreements_are_named(
    router: Router, http: httpx.AsyncClient, stream: bool
) -> None:
    so_far = (await ask(router.admin_port, "GET", "/mirrorz?route=compared"))["pairs"]
    same, other = uuid4().hex, uuid4().hex
    planted = f"planted-{other}"
    await chat(http, "compared", stream=stream, max_tokens=20, headers={"x-request-id": same})
    # The pool of copies drops `seed`, so that its server writes something else.
    messages = [{"role": "user", "content": planted}]
    answer = await chat(
        http, "compared", stream=stream, max_tokens=20, seed=7, messages=messages,
        headers={"x-request-id": other},
    )  # fmt: skip
    assert answer.status_code == 200
    pairs = await eventually(lambda: _compared(router, "compared", so_far["compared"] + 2))
    assert pairs["agreed"] == so_far["agreed"] + 1
    assert pairs["disagreed"] == so_far["disagreed"] + 1
    report = await ask(router.admin_port, "GET", "/mirrorz?route=compared")
    named = report["disagreements"][0]
    assert named["requestId"] == other
    assert len(named["prompt"]) == 16
    assert named["promptCharacters"] == len(planted)
    assert 0 <= named["agreement"] < 0.5
    assert (named["original"]["pool"], named["copy"]["pool"]) == ("first", "second")
    assert named["original"]["status"] == named["copy"]["status"] == 200
    assert same not in str(report["disagreements"])
    shown = (await http.get(f"{router.admin}/mirrorz?route=compared&format=text")).text
    assert other in shown
    for told in (str(report), shown, router.log.read_text()):
        assert planted not in told
        assert named["original"]["characters"] > 20


async def test_the_report_of_a_route_without_a_mirror(router: Router) -> None:
    answer = await ask(router.admin_port, "GET", "/mirrorz?route=none", ok=(404,))
    assert "route none has no mirror here" in answer["error"]
    assert "compared" in (await ask(router.admin_port, "GET", "/mirrorz"))["routes"]


async def test_the_official_client(router: Router, servers: Servers) -> None:
    async with router.client() as client:
        answer = await client.chat.completions.create(
            model="all", messages=[{"role": "user", "content": "hello"}], max_tokens=5
        )
    assert answer.choices[0].message.content
    await only_copy(servers.second)
    assert isinstance(client, openai.AsyncOpenAI)


async def test_an_evaluator_is_asked_about_answers_that_differ(own_rig: Rig) -> None:
    asked: list[Any] = []

    async def judge(request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.Response()
        asked.append((request.headers, await request.json()))
        message = {"role": "assistant", "content": "FIRST"}
        usage = {"prompt_tokens": 100, "completion_tokens": 1}
        return web.json_response({"choices": [{"message": message}], "usage": usage})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", judge)
    server = TestServer(app)
    await server.start_server()
    stable, candidate = await asyncio.to_thread(own_rig.simulators, "stable", "candidate")
    router = await asyncio.to_thread(
        own_rig.router,
        pool("stable", stable, dataClasses=["internal"]),
        pool("candidate", candidate, dataClasses=["internal"], parameters={"drop": ["seed"]}),
        pool(
            "judge",
            f"127.0.0.1:{server.port}",
            model="acme/judge",
            price={"input": "10", "output": "10"},
        ),
        route(
            "m",
            pools=["stable", "candidate", "judge"],
            failover=["stable"],
            mirror={"pool": "candidate", "compare": True, "evaluator": "judge"},
        ),
    )
    try:
        async with router.http() as http:
            await chat(http, "m", max_tokens=20)
            await chat(http, "m", max_tokens=20, seed=7)
            labelled = {"x-data-class": "internal"}
            await chat(http, "m", max_tokens=20, seed=7, headers=labelled)
        await eventually(lambda: _compared(router, "m", 3))
        report = await ask(router.admin_port, "GET", "/mirrorz?route=m")
        # Equal answers need no judge, and this one may not see labelled data.
        ((headers, question),) = asked
        assert report["pairs"]["agreed"] == 1
        verdicts = report["evaluator"]["verdicts"]
        assert verdicts["original"] + verdicts["copy"] == 1
        told = {"route": "m", "pool": "judge"}
        name = "modelrouter_mirror_evaluation"
        await eventually(lambda: _more(router, f"{name}_tokens_total", 100, **told))
        cost = await router.metric(f"{name}_cost_dollars_total", **told)
        assert cost == pytest.approx(101 * 10 / 1e6)
        assert await router.metric("modelrouter_requests_total", pool="judge") == 0
    finally:
        await server.close()
    assert question["model"] == "acme/judge"
    assert "hello" in question["messages"][1]["content"]
    assert not [each for each in headers if each.lower().startswith("x-mr-")]
