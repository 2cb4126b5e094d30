"""RouterConfig documents: what is taken over and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from modelrouter.api.router_config import FORMAT
from modelrouter.router.reading import ConfigReader, InvalidConfigError


def document(**changes: Any) -> dict[str, Any]:
    pool = {
        "model": "m",
        "addresses": ["10.0.0.7:80"],
        "ejection": {
            "consecutiveErrors": 5,
            "baseEjectionTimeMs": 30000,
            "maxEjectionPercent": 50,
        },
    }
    route = {
        "models": ["chat"],
        "pools": ["a"],
        "rules": [{"name": "d", "targets": [{"pool": "a", "weight": 1}], "failover": []}],
        "retry": {"attemptsPerPool": 2, "triggers": ["5xx"]},
        "requestTimeoutMs": 1000,
        "idleTimeoutMs": 1000,
        "fallthrough": {"pools": ["a"], "closed": False},
    }
    return {
        "format": FORMAT,
        "version": "0123456789abcdef",
        "router": "default",
        "namespace": "ai",
        "pools": {"a": dict(pool), "b": dict(pool)},
        "routes": {"chat": dict(route), "other": {**route, "models": ["other"]}},
        **changes,
    }


async def test_entries_that_have_not_changed_are_the_same_objects() -> None:
    reader = ConfigReader()
    before = await reader.read(document())
    changed = document()
    changed["pools"]["b"]["model"] = "n"
    after = await reader.read(changed)
    assert after.pools["a"] is before.pools["a"]
    assert after.routes["chat"] is before.routes["chat"]
    assert after.pools["b"].model == "n"


async def test_a_refused_document_leaves_the_reader_as_it_was() -> None:
    reader = ConfigReader()
    before = await reader.read(document())
    with pytest.raises(InvalidConfigError):
        await reader.read(document(pools={}))
    assert (await reader.read(document())).pools["a"] is before.pools["a"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other/v9"}, "format: this agent reads modelrouter.dev/router-config/v1"),
        ({"pools": None}, "pools: a mapping from name to entry is needed"),
        ({"pools": {"a": {"model": "m"}}}, "pools.a.ejection: this field is required"),
        ({"pools": {"b": document()["pools"]["b"]}}, "routes.chat.pools: there is no pool a"),
        ({"routes": {"chat": {"modles": []}}}, "routes.chat"),
    ],
)
async def test_a_document_that_is_wrong_says_where(changes: Any, message: str) -> None:
    with pytest.raises(InvalidConfigError) as raised:
        await ConfigReader().read(document(**changes))
    assert message in str(raised.value)
