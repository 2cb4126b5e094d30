"""RouterConfig in ConfigMaps: nothing is lost, nothing grows too large, little is written."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from modelrouter.api.router_config import RouterConfig
from modelrouter.plan.shards import (
    SHARD_LIMIT,
    BrokenEntryError,
    Write,
    assemble,
    digest,
    entries,
    merged,
    named,
    place,
    pool_key,
    route_key,
    version,
    version_of,
    writes,
)
from unit.plan.golden import cases

LIMIT = 60
KEYS = st.sampled_from([f"{kind}.{name}" for kind in ("pool", "route") for name in "abcdefgh"])
TEXTS = st.integers(0, 50).map(lambda size: "x" * size) | st.just("ä" * 20)
ENTRIES = st.dictionaries(KEYS, TEXTS, max_size=16)
STRAY = st.dictionaries(KEYS | st.just("somebody-elses"), TEXTS, max_size=6)
CURRENT = st.dictionaries(st.integers(0, 6), STRAY, max_size=5)


def size(shard: dict[str, str]) -> int:
    return sum(len(key) + len(text.encode()) for key, text in shard.items())


def fits(shard: dict[str, str]) -> bool:
    return size(shard) <= LIMIT or len(shard) == 1


@given(ENTRIES, CURRENT)
@settings(deadline=None)
def test_nothing_is_lost_or_doubled_and_no_shard_is_too_large(
    wanted: dict[str, str], current: dict[int, dict[str, str]]
) -> None:
    placed = place(wanted, current, LIMIT)
    keys = [key for shard in placed.values() for key in shard]
    assert len(keys) == len(set(keys))
    assert merged(placed) == wanted
    assert all(shard and fits(shard) for shard in placed.values())


@given(ENTRIES, CURRENT)
@settings(deadline=None)
def test_what_is_placed_stays_where_it_is(
    wanted: dict[str, str], current: dict[int, dict[str, str]]
) -> None:
    placed = place(wanted, current, LIMIT)
    assert place(wanted, placed, LIMIT) == placed


@given(ENTRIES, KEYS, TEXTS | st.none())
@settings(deadline=None)
def test_one_change_touches_one_shard_as_long_as_there_is_room(
    before: dict[str, str], key: str, text: str | None
) -> None:
    placed = place(before, {}, LIMIT)
    after = (
        {**before, key: text} if text is not None else {k: before[k] for k in before if k != key}
    )
    moved = place(after, placed, LIMIT)
    touched = [i for i in placed.keys() | moved.keys() if placed.get(i) != moved.get(i)]
    home = next((i for i, shard in placed.items() if key in shard), None)
    with_room = home is None or text is None or fits({**placed[home], key: text})
    assert len(touched) <= (1 if with_room else 2)
    if with_room and home is not None and home in moved and text is not None:
        assert moved[home][key] == text


def test_an_entry_that_outgrows_its_shard_moves_and_the_others_stay() -> None:
    placed = place({"pool.a": "x" * 20, "pool.b": "x" * 20}, {}, LIMIT)
    assert list(placed) == [0]
    moved = place({"pool.a": "x" * 50, "pool.b": "x" * 20}, placed, LIMIT)
    assert moved == {0: {"pool.b": "x" * 20}, 1: {"pool.a": "x" * 50}}


def test_what_changed_makes_room_before_what_did_not_however_large() -> None:
    placed = {0: {"pool.a": "x" * 30, "pool.b": "x" * 10}}
    moved = place({"pool.a": "x" * 30, "pool.b": "x" * 25}, placed, LIMIT)
    assert moved == {0: {"pool.a": "x" * 30}, 1: {"pool.b": "x" * 25}}


def test_an_entry_larger_than_the_limit_has_a_shard_to_itself() -> None:
    placed = place({"pool.a": "x" * 500, "pool.b": "", "pool.c": ""}, {}, LIMIT)
    assert [sorted(shard) for shard in placed.values()] == [["pool.a"], ["pool.b", "pool.c"]]


def test_a_shard_that_is_gone_is_filled_again() -> None:
    placed = place({f"route.{i}": "x" * 40 for i in range(4)}, {}, LIMIT)
    del placed[1]
    again = place({f"route.{i}": "x" * 40 for i in range(4)}, placed, LIMIT)
    assert sorted(again) == [0, 1, 2, 3]


def test_shards_stay_far_below_what_a_config_map_can_hold() -> None:
    assert SHARD_LIMIT * 2 < 1024 * 1024  # on the way a shard may hold old and new


# Routes here are text that names their pools.

NAMES = "abcd"
PLACES = st.integers(0, 3)


@st.composite
def states(draw: st.DrawFn) -> dict[int, dict[str, str]]:
    """Shards in which every route finds its pools."""
    pools = draw(st.sets(st.sampled_from(NAMES)))
    shards: dict[int, dict[str, str]] = {}
    for name in sorted(pools):
        text = draw(st.sampled_from(["1", "2"]))
        shards.setdefault(draw(PLACES), {})[pool_key(name)] = text
    named = st.lists(st.sampled_from(sorted(pools)), max_size=3) if pools else st.just([])
    for name in sorted(draw(st.sets(st.sampled_from(NAMES)))):
        text = " ".join(draw(named))
        shards.setdefault(draw(PLACES), {})[route_key(name)] = text
    return shards


def missing_pools(state: dict[int, dict[str, str]]) -> set[str]:
    together = merged(state)
    named = {n for key, text in together.items() if key.startswith("route.") for n in text.split()}
    return {name for name in named if pool_key(name) not in together}


@given(states(), states())
@settings(deadline=None, max_examples=200)
def test_on_the_way_every_route_is_there_and_finds_its_pools(
    current: dict[int, dict[str, str]], wanted: dict[int, dict[str, str]]
) -> None:
    state = {index: dict(shard) for index, shard in current.items()}
    before, after = merged(current), merged(wanted)
    lasting = before.keys() & after.keys()
    for step in writes(current, wanted):
        assert state.get(step.index) != step.data, "a write that changes nothing"
        if step.data is None:
            del state[step.index]
        else:
            state[step.index] = step.data
        assert missing_pools(state) == set()
        assert lasting <= merged(state).keys()
        for key, text in merged(state).items():
            assert text in (before.get(key), after.get(key))
    assert state == wanted


def test_a_change_within_one_shard_is_one_write() -> None:
    current = {0: {"pool.a": "1", "route.a": "a"}, 1: {"route.b": "a"}}
    wanted = {0: {"pool.b": "1", "pool.a": "1", "route.a": "b"}, 1: {"route.b": "a"}}
    assert writes(current, wanted) == [Write(0, wanted[0])]


def test_a_pool_and_its_route_in_two_shards_are_two_writes() -> None:
    current = {0: {"pool.a": "1"}, 1: {"route.a": "a"}}
    wanted = {0: {"pool.a": "1", "pool.b": "1"}, 1: {"route.a": "b"}}
    assert writes(current, wanted) == [Write(0, wanted[0]), Write(1, wanted[1])]
    assert writes(wanted, current) == [Write(1, current[1]), Write(0, current[0])]


def test_a_shard_without_entries_goes_away() -> None:
    assert writes({0: {"route.a": ""}, 1: {}}, {}) == [Write(0, None), Write(1, None)]
    assert writes({0: {}}, {}) == [Write(0, None)]
    assert writes({}, {}) == []


CONFIGS = [
    RouterConfig.model_validate(document)
    for case in cases("testdata")
    for document in yaml.safe_load_all((case / "out.yaml").read_text())
    if "format" in document
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.version)
def test_a_configuration_comes_out_of_shards_as_it_went_in(config: RouterConfig) -> None:
    shards = place(entries(config), {}, limit=1000)
    document: dict[str, Any] = assemble(shards, config.router, config.namespace)
    assert document["version"] == version(entries(config))
    read = RouterConfig.model_validate(document)
    assert read.model_copy(update={"version": config.version}) == config


def test_entries_are_read_by_people() -> None:
    text = entries(CONFIGS[0])[pool_key(next(iter(CONFIGS[0].pools)))]
    assert text.startswith('{\n  "model": ')
    assert "null" not in text


@pytest.mark.parametrize(
    "key", [pool_key("a.b-c"), pool_key("x" * 63 + "/" + "A_b.c" * 12 + "A_b"), route_key("x" * 63)]
)
def test_keys_are_what_a_config_map_takes(key: str) -> None:
    assert re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", key)


@pytest.mark.parametrize("name", ["a", "a.b-c", "a/b", "a/B_c.d", "a.b/c_"])
def test_a_key_says_which_pool_it_is_about(name: str) -> None:
    assert named(pool_key(name)) == name


def test_a_key_says_which_route_it_is_about() -> None:
    assert named(route_key("a.b")) == "a.b"


@given(ENTRIES, st.randoms())
@settings(deadline=None)
def test_the_version_depends_on_the_content_alone(wanted: dict[str, str], random: Any) -> None:
    shuffled = list(wanted.items())
    random.shuffle(shuffled)
    assert version(dict(shuffled)) == version(wanted)
    assert version_of({key: digest(text) for key, text in shuffled}) == version(wanted)
    assert re.fullmatch("[0-9a-f]{16}", version(wanted))
    for key in wanted:
        assert version({**wanted, key: wanted[key] + "y"}) != version(wanted)
        assert version({k: t for k, t in wanted.items() if k != key}) != version(wanted)


def test_an_entry_on_its_way_between_shards_is_read_once() -> None:
    shards = {0: {"pool.a": '{"n": 1}'}, 1: {"pool.a": '{"n": 2}', "route.a": "{}"}}
    assert assemble(shards)["pools"] == {"a": {"n": 1}}


def test_keys_of_others_are_left_alone() -> None:
    document = assemble({0: {"notes": "mine", "pool.a": "{}"}})
    assert document["pools"] == {"a": {}}
    assert document["version"] == version({"pool.a": "{}"})


def test_a_broken_entry_is_named() -> None:
    with pytest.raises(BrokenEntryError, match=r"pool\.a is not JSON: .* at character 1"):
        assemble({0: {"pool.a": "{"}})
