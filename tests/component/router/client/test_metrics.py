"""What requests leave behind on `/metrics`."""

from __future__ import annotations

import httpx
import openai
import pytest

from component.router.client.answers import CHAT, HELLO
from component.router.client.conftest import Serve, Servers
from component.router.rig import Router, eventually, pool, route


@pytest.fixture(scope="module")
def router(serve: Serve, servers: Servers) -> Router:
    """A million prompt tokens cost 2 dollars, a million of the answer's 10."""
    return serve(
        pool("priced", servers.first, zone="eu", price={"input": "2", "output": "10"}),
        pool("free", servers.second),
        route("counted", pools=["priced", "free"], retry={"attempts": 1}),
    )


class Growth:
    """How much samples have grown since they were first asked for."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._before: dict[str, float] = {}

    async def begin(self, name: str, **labels: str) -> None:
        self._before[f"{name}{labels}"] = await self._router.metric(name, **labels)

    async def reaches(self, by: float, name: str, **labels: str) -> None:
        """Wait for it: a request is counted a moment after its end."""

        async def grown() -> bool:
            now = await self._router.metric(name, **labels)
            return now - self._before[f"{name}{labels}"] >= by - 1e-9

        await eventually(grown)
        assert await self._router.metric(name, **labels) == pytest.approx(
            self._before[f"{name}{labels}"] + by
        )


@pytest.fixture
async def growth(router: Router) -> Growth:
    async def settled() -> bool:
        return await router.metric("modelrouter_in_flight_requests") == 0

    await eventually(settled)
    return Growth(router)


async def test_requests_by_pool_and_status(
    http: httpx.AsyncClient, servers: Servers, growth: Growth
) -> None:
    name = "modelrouter_requests_total"
    answered = {"route": "counted", "pool": "priced", "code": "200"}
    taken_over = {"route": "counted", "pool": "free", "code": "200"}
    seconds = "modelrouter_request_duration_seconds_count"
    for labels in (answered, taken_over):
        await growth.begin(name, **labels)
    await growth.begin(seconds, route="counted")
    await growth.begin("modelrouter_retries_total", route="counted")

    for _ in range(3):
        await http.post(CHAT, json={"model": "counted", "messages": HELLO})
    await servers.first.fault(fail_status=503)
    await http.post(CHAT, json={"model": "counted", "messages": HELLO})

    await growth.reaches(3, name, **answered)
    await growth.reaches(1, name, **taken_over)
    await growth.reaches(4, seconds, route="counted")
    await growth.reaches(1, "modelrouter_retries_total", route="counted")


async def test_refusals_and_decisions(http: httpx.AsyncClient, growth: Growth) -> None:
    await growth.begin("modelrouter_refusals_total", error="model_not_found")
    await growth.begin("modelrouter_decisions_total", route="counted")
    await http.post(CHAT, json={"model": "nobody", "messages": HELLO})
    await http.post(CHAT, json={"model": "counted", "messages": HELLO})
    await growth.reaches(1, "modelrouter_refusals_total", error="model_not_found")
    await growth.reaches(1, "modelrouter_decisions_total", route="counted")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_tokens_and_what_they_cost(
    client: openai.AsyncOpenAI, growth: Growth, stream: bool
) -> None:
    """As the server counted them in its `usage`."""
    tokens = "modelrouter_tokens_total"
    labels = {"route": "counted", "pool": "priced"}
    for direction in ("prompt", "completion"):
        await growth.begin(tokens, **labels, direction=direction)
    await growth.begin("modelrouter_cost_dollars_total", **labels)

    if stream:
        chunks = await client.chat.completions.create(
            model="counted",
            messages=HELLO,
            max_tokens=7,
            stream=True,
            stream_options={"include_usage": True},
        )
        usage = [chunk.usage async for chunk in chunks][-1]
    else:
        answer = await client.chat.completions.create(model="counted", messages=HELLO, max_tokens=7)
        usage = answer.usage

    assert usage
    assert usage.completion_tokens == 7
    await growth.reaches(usage.prompt_tokens, tokens, **labels, direction="prompt")
    await growth.reaches(7, tokens, **labels, direction="completion")
    cost = (usage.prompt_tokens * 2 + 7 * 10) / 1e6
    await growth.reaches(cost, "modelrouter_cost_dollars_total", **labels)


async def test_nothing_stays_in_flight(http: httpx.AsyncClient, router: Router) -> None:
    await http.post(CHAT, json={"model": "counted", "messages": HELLO})

    async def idle() -> bool:
        return await router.metric("modelrouter_in_flight_requests", pool="priced") == 0

    await eventually(idle)


async def test_facts_of_pools(router: Router) -> None:
    assert await router.metric("modelrouter_pool_info", pool="priced", zone="eu") == 1

    async def seen() -> bool:
        # Envoy is asked about its endpoints twice a second.
        return await router.metric("modelrouter_pool_endpoints", pool="priced", state="total") == 1

    await eventually(seen)
