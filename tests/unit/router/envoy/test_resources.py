"""Building resources: what is in them, what is kept, and that nothing waits for it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from loop_time import longest_hold
from modelrouter.api.router_config import RouterConfig
from modelrouter.router.envoy.rendering import render_envoy
from modelrouter.router.envoy.resources import EnvoyResources, ResourceBuilder
from modelrouter.router.envoy.settings import EnvoySettings

SETTINGS = EnvoySettings(directory=Path("/run/mr"))
EJECTION = {"consecutive_errors": 5, "base_ejection_time_ms": 1000, "max_ejection_percent": 50}


def config(routes: int, **pool: Any) -> RouterConfig:
    pools = {
        name: {"model": name, "addresses": ["10.0.0.1:80"], "ejection": EJECTION, **pool}
        for name in ("a", "b")
    }
    one = {
        "pools": ["a", "b"],
        "rules": [{"name": "r", "targets": [{"pool": "a", "weight": 1}], "failover": ["b"]}],
        "retry": {"attempts_per_pool": 1, "triggers": ["5xx"]},
        "request_timeout_ms": 60_000,
        "idle_timeout_ms": 5_000,
        "fallthrough": {"pools": ["a", "b"], "closed": False},
    }
    named = {f"r{n}": {"models": [f"m{n}"], **one} for n in range(routes)}
    return RouterConfig.model_validate(
        {"router": "d", "namespace": "n", "pools": pools, "routes": named}
    )


def build(builder: ResourceBuilder, wanted: RouterConfig, **keys: str) -> EnvoyResources:
    return asyncio.run(builder.build(wanted, {"s": keys}))


def test_the_same_configuration_gives_the_same_bytes() -> None:
    first = build(ResourceBuilder(SETTINGS), config(3)).as_set()
    assert build(ResourceBuilder(SETTINGS), config(3)).as_set() == first


def test_older_plans_stay_beside_newer_ones() -> None:
    builder = ResourceBuilder(SETTINGS)
    older, newer = build(builder, config(2)), build(builder, config(1))
    joined = older.joined_with(newer)
    assert set(joined.plans) == set(older.plans) | set(newer.plans)
    assert joined.models == newer.models


def test_keys_are_secrets_only() -> None:
    wanted = config(1, credential={"secret": "s", "key": "k"})
    made = build(ResourceBuilder(SETTINGS), wanted, k="sk-very-secret").as_set()
    assert list(made.secrets) == ["s/k"]
    assert b"sk-very-secret" in made.secrets["s/k"]
    for others in (made.clusters, made.endpoints, made.routes):
        assert not [name for name, body in others.items() if b"very-secret" in body]


def test_a_pool_without_its_key_has_no_endpoints() -> None:
    wanted = config(1, credential={"secret": "s", "key": "k"})
    made = build(ResourceBuilder(SETTINGS), wanted).as_set()
    assert not made.secrets
    assert b"10.0.0.1" not in made.endpoints["a"]


def test_rendering_names_everything() -> None:
    rendered = render_envoy(config(2))
    assert [cluster["name"] for cluster in rendered["clusters"]] == ["a", "b"]
    assert set(rendered["routes"]["models"]) == {"m0", "m1"}


@pytest.mark.parametrize("again", [False, True])
def test_a_thousand_routes_do_not_hold_the_loop(again: bool) -> None:
    builder = ResourceBuilder(SETTINGS)
    wanted = config(1000)

    async def build() -> tuple[EnvoyResources, float]:
        # The first use of a type compiles it.
        await ResourceBuilder(SETTINGS).build(config(1), {})
        if again:
            await builder.build(wanted, {})
        return await longest_hold(builder.build(wanted, {}))

    made, longest = asyncio.run(build())
    assert len(made.models) == 1000
    assert longest < 0.05


def test_building_again_gives_what_a_new_builder_gives() -> None:
    """Whatever came before: routes that come and go, pools that change under them."""
    builder = ResourceBuilder(SETTINGS)
    two = ["10.0.0.1:80", "10.0.0.2:80"]
    renamed = config(3)
    renamed.routes["r1"] = renamed.routes["r1"].model_copy(update={"models": ["m0x", "m1"]})
    slower = config(3)
    slower.routes["r2"] = slower.routes["r2"].model_copy(update={"request_timeout_ms": 5})
    for wanted in (
        config(3),
        slower,
        config(1),
        config(3, addresses=two),
        renamed,
        config(3, model="other"),
        config(3),
    ):
        fresh = build(ResourceBuilder(SETTINGS), wanted)
        assert build(builder, wanted) == fresh


def test_there_are_no_more_plans_than_envoy_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those without which nothing works come first, and room that is left again is used."""
    everything = build(ResourceBuilder(SETTINGS), config(4)).plans
    monkeypatch.setattr("modelrouter.router.envoy.resources.MOST_PLANS", len(everything) - 3)
    builder = ResourceBuilder(SETTINGS)
    some = build(builder, config(4))
    assert len(some.plans) == len(everything) - 3
    assert some.plans.items() <= everything.items()
    assert build(builder, config(3)) == build(ResourceBuilder(SETTINGS), config(3))
