"""Adapters, which routes name `POOL/ADAPTER`: to the router they are pools like others."""

from __future__ import annotations

import httpx
import pytest

from component.router.rig import Rig, Router, eventually, route

POOL = """
apiVersion: modelrouter.dev/v1alpha1
kind: ModelPool
metadata: {name: llama-8b}
spec:
  model: org/llama-8b
  price: {input: "1", output: "2"}
  vllm:
    image: vllm/vllm-openai:v0.33.0
    loraAdapters:
    - {name: Support_DE.2, source: "hf://acme/support-de"}
    - {name: legal, source: "pvc://adapters/legal"}
"""
RULES = [
    {
        "name": "german",
        "match": {"headers": [{"name": "accept-language", "prefix": "de"}]},
        "targets": [{"pool": "llama-8b/Support_DE.2"}],
    },
    {
        "name": "halves",
        "targets": [{"pool": "llama-8b", "weight": 1}, {"pool": "llama-8b/legal", "weight": 1}],
    },
]
NAMES = ["llama-8b", "llama-8b/Support_DE.2", "llama-8b/legal"]


@pytest.fixture(scope="module")
def router(rig: Rig) -> Router:
    """A router in front of a pool that the operator would run in a cluster."""
    return rig.router(POOL, route("chat", pools=NAMES, rules=RULES), options=["--simulate"])


async def ask(router: Router, **headers: str) -> httpx.Response:
    body = {"model": "chat", "max_tokens": 2, "messages": [{"role": "user", "content": "Hello!"}]}
    async with router.http() as http:
        return await http.post("/v1/chat/completions", json=body, headers=headers)


@pytest.fixture(autouse=True)
async def ready(router: Router) -> None:
    """Every pool has passed its health check."""

    async def is_ready() -> bool:
        pools = (await router.view())["pools"]
        return set(pools) == set(NAMES) and all(pool["ready"] == 1 for pool in pools.values())

    await eventually(is_ready, within=20)


async def test_a_request_for_an_adapter_reaches_it_by_its_name(router: Router) -> None:
    answer = await ask(router, **{"accept-language": "de-DE"})
    assert answer.status_code == 200
    assert answer.headers["x-mr-pool"] == "llama-8b/Support_DE.2"
    assert answer.json()["model"] == "Support_DE.2"


async def test_a_pool_and_its_adapter_share_requests_by_weight(router: Router) -> None:
    models = set()
    for _ in range(40):
        answer = await ask(router)
        assert answer.status_code == 200
        model = answer.json()["model"]
        assert (
            answer.headers["x-mr-pool"]
            == {
                "org/llama-8b": "llama-8b",
                "legal": "llama-8b/legal",
            }[model]
        )
        models.add(model)
    assert models == {"org/llama-8b", "legal"}


async def test_adapters_have_their_own_figures(router: Router) -> None:
    pool = "llama-8b/Support_DE.2"
    before = await router.metric("modelrouter_requests_total", pool=pool)
    await ask(router, **{"accept-language": "de"})

    async def is_counted() -> bool:
        return await router.metric("modelrouter_requests_total", pool=pool) > before

    await eventually(is_counted)
    assert await router.metric("modelrouter_pool_endpoints", pool=pool, state="ready") == 1
