"""Adapters of a pool come while its servers run, and routes name them."""

from __future__ import annotations

import openai

from cluster.control_plane.controller.waiting import eventually
from cluster.node.pools import Object, Pools, model_pool, model_route

GERMAN = {"name": "support-de", "source": "hf://acme/support-de"}
FRENCH = {"name": "support.FR", "source": "hf://acme/support-fr"}


def test_an_adapter_is_added_without_a_restart(pools: Pools) -> None:
    pools.apply(
        model_pool("big", replicas=2, loraAdapters=[GERMAN]),
        model_route("german", "big/support-de", "big"),
    )
    assert _asked(pools, "german") == "support-de"
    before = _running(pools.pods("big"))

    pools.patch("big", loraAdapters=[GERMAN, FRENCH])
    pools.apply(model_route("french", "big/support.FR"))
    for _ in range(10):
        assert _asked(pools, "french") == "support.FR"
        assert _asked(pools, "german") == "support-de"

    pools.patch("big", loraAdapters=[FRENCH])
    eventually(lambda: _asked(pools, "german") == "acme/big", within=30)
    assert "AdapterNotFound" in pools.status("mroute", "german")["ResolvedRefs"]
    assert _asked(pools, "french") == "support.FR"
    assert _running(pools.pods("big")) == before


def _asked(pools: Pools, model: str) -> str:
    client = openai.OpenAI(base_url=pools.base_url, api_key="unused", max_retries=0, timeout=20)
    answer = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "Hello!"}], max_tokens=2
    )
    return answer.model


def _running(pods: list[Object]) -> set[tuple[str, str]]:
    """Pods with their containers: equal as long as none was replaced or started again."""
    return {
        (pod["metadata"]["uid"], status["containerID"])
        for pod in pods
        for status in pod["status"]["containerStatuses"]
    }
