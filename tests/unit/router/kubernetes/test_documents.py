"""ConfigMaps make up a document."""

from __future__ import annotations

from typing import Any

import pytest

from modelrouter.plan.shards import BrokenEntryError, assemble, version
from modelrouter.router.kubernetes.documents import (
    Documents,
    follows_services,
    missing_pool,
    secret_names,
)

POOL, ROUTE = '{"model": "m"}', '{"models": ["chat"], "pools": ["a"]}'


def shard(number: int | str, **data: str) -> dict[str, Any]:
    entries = {key.replace("_", "."): text for key, text in data.items()}
    return {"metadata": {"name": f"model-router-chat-config-{number}"}, "data": entries}


def test_the_document_is_what_the_operator_wrote() -> None:
    documents = Documents("ns", "chat")
    assert documents.is_empty
    first, tenth = shard(1, pool_a=POOL, junk="?"), shard(10, route_chat=ROUTE)
    documents.replace((tenth, first))
    assert documents.read() == assemble({1: first["data"], 10: tenth["data"]}, "chat", "ns")
    assert documents.read()["version"] == version({"pool.a": POOL, "route.chat": ROUTE})


def test_adapters_are_pools_too() -> None:
    documents = Documents("ns", "chat")
    entries = {"pool.a_b_c": POOL, "route.chat": ROUTE}
    documents.replace(({"metadata": {"name": "model-router-chat-config-0"}, "data": entries},))
    assert documents.read() == assemble({0: entries}, "chat", "ns")
    assert documents.read()["pools"] == {"a/b_c": {"model": "m"}}
    assert missing_pool(documents.read()) == "route chat needs pool.a"


def test_an_entry_in_two_shards_counts_where_its_number_is_lowest() -> None:
    documents = Documents("ns", "chat")
    documents.replace((shard(10, pool_a='{"model": "ten"}'), shard(9, pool_a=POOL)))
    assert documents.read()["pools"] == {"a": {"model": "m"}}


def test_changes_are_taken_one_by_one_and_the_rest_is_not_read_again() -> None:
    documents = Documents("ns", "chat")
    documents.replace((shard(0, pool_a=POOL, pool_b=POOL),))
    before = documents.read()
    documents.put(shard(0, pool_a='{"model": "n"}', pool_b=POOL))
    after = documents.read()
    assert after["pools"]["a"] == {"model": "n"}
    assert after["pools"]["b"] is before["pools"]["b"]
    assert after["version"] != before["version"]
    documents.remove(shard(0))
    assert documents.is_empty


def test_a_broken_entry_is_named() -> None:
    documents = Documents("ns", "chat")
    documents.replace((shard(0, pool_a="{"),))
    with pytest.raises(BrokenEntryError, match=r"pool\.a is not JSON"):
        documents.read()
    documents.put(shard(0, pool_a=POOL))
    assert documents.read()["pools"] == {"a": {"model": "m"}}


def test_a_configmap_may_be_empty() -> None:
    documents = Documents("ns", "chat")
    documents.replace(({"metadata": {"name": "model-router-chat-config-0"}},))
    assert documents.read()["pools"] == {}


def test_what_a_document_needs() -> None:
    key = {"secret": "provider", "key": "api-key"}
    document = {
        "pools": {
            "a": {"credential": key},
            "b": {"credential": key, "service": {"name": "b", "port": 80}},
            "odd": "no object",
        },
        "routes": {"chat": {"pools": ["a", "b"]}, "odd": 7, "none": {}},
    }
    assert missing_pool(document) == ""
    assert secret_names(document) == {"provider"}
    assert follows_services(document)
    del document["pools"]["b"]
    assert missing_pool(document) == "route chat needs pool.b"
    assert not follows_services(document)
