"""RouterConfig ⇄ the ConfigMaps that carry it, one entry for each pool and each route.

A ConfigMap holds at most 1 MiB, so entries are spread over several: shards. An entry stays in the
shard that it is in, so that a change of one route writes one shard.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from modelrouter.api.router_config import FORMAT, PoolConfig, RouteConfig, RouterConfig

SHARD_LIMIT = 200 * 1024
"""Bytes of entries in one shard: few shards, and still little to send for a small change."""

Entries = Mapping[str, str]
"""Text by key: `pool.<name>`, `pool.<name>_<adapter>` and `route.<name>`."""
Shards = Mapping[int, Entries]
"""Entries by the shard's index."""

_POOL, _ROUTE = "pool.", "route."


class BrokenEntryError(ValueError):
    """An entry that nothing can be read from; the message names it."""


@dataclass(frozen=True, slots=True)
class Write:
    """One step on the way from the shards that are there to those that are wanted."""

    index: int
    data: dict[str, str] | None
    """What the shard holds afterwards. None: the shard goes away."""


def pool_key(name: str) -> str:
    """The key of a pool's entry. Keys of ConfigMaps have no `/`, names of pools no `_`."""
    return _POOL + name.replace("/", "_", 1)


def route_key(name: str) -> str:
    """The key of a route's entry."""
    return _ROUTE + name


def named(key: str) -> str:
    """The pool or route that an entry is about."""
    kind, _, name = key.partition(".")
    return name.replace("_", "/", 1) if kind == "pool" else name


def entry(config: PoolConfig | RouteConfig) -> str:
    """A pool or route as text: indented JSON, with defaults left out."""
    content = config.model_dump(mode="json", exclude_defaults=True)
    return orjson.dumps(content, option=orjson.OPT_INDENT_2).decode()


def entries(config: RouterConfig) -> dict[str, str]:
    """All entries of a configuration."""
    pools = {pool_key(name): entry(pool) for name, pool in config.pools.items()}
    return pools | {route_key(name): entry(route) for name, route in config.routes.items()}


def digest(text: str) -> bytes:
    """What stands for an entry's text in the version."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def version(entries: Entries) -> str:
    """The version of a configuration by its entries: 16 hexadecimal digits."""
    return version_of({key: digest(text) for key, text in entries.items()})


def version_of(digests: Mapping[str, bytes]) -> str:
    """The same, for those who keep the `digest` of each entry."""
    total = hashlib.blake2b(FORMAT.encode(), digest_size=8)
    for key, value in sorted(digests.items()):
        total.update(b"\0%b\0%b" % (key.encode(), value))
    return total.hexdigest()


def merged(shards: Shards) -> dict[str, str]:
    """The entries of all shards. One that is moving may be in two: then the first counts.

    Keys that are neither a pool's nor a route's are somebody else's and are left out.
    """
    found: dict[str, str] = {}
    for _, shard in sorted(shards.items()):
        for key, text in shard.items():
            if key.startswith((_POOL, _ROUTE)):
                found.setdefault(key, text)
    return found


def assemble(shards: Shards, router: str = "", namespace: str = "") -> dict[str, Any]:
    """The document that the shards make up, as plain data. Raises `BrokenEntryError`."""
    return document(merged(shards), router, namespace)


def document(entries: Entries, router: str = "", namespace: str = "") -> dict[str, Any]:
    """The document that the entries make up, as plain data. Raises `BrokenEntryError`."""
    pools: dict[str, Any] = {}
    routes: dict[str, Any] = {}
    for key, text in sorted(entries.items()):
        section = pools if key.startswith(_POOL) else routes
        section[named(key)] = read_entry(key, text)
    return {
        "format": FORMAT,
        "version": version(entries),
        "router": router,
        "namespace": namespace,
        "pools": pools,
        "routes": routes,
    }


def read_entry(key: str, text: str) -> Any:
    """The plain data of one entry. Raises `BrokenEntryError`."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        reason = f"is not JSON: {error.msg} at character {error.pos}"
        raise BrokenEntryError(f"{key} {reason}; the operator writes it anew") from None


def place(wanted: Entries, current: Shards, limit: int = SHARD_LIMIT) -> dict[int, dict[str, str]]:
    """Which entry goes to which shard.

    An entry stays where it is as long as its shard has room. Where it has not, those that changed
    go first, the largest ahead. An entry larger than the limit has a shard to itself.
    """
    shards: dict[int, dict[str, str]] = {}
    homeless = dict(wanted)
    for index, old in sorted(current.items()):
        shard = {key: homeless.pop(key) for key in sorted(old) if key in homeless}
        leaving = sorted(shard, key=lambda key: (shard[key] == old[key], -_size(key, shard[key])))
        room = limit - sum(_size(key, text) for key, text in shard.items())
        while room < 0 and len(shard) > 1:
            key = leaving.pop(0)
            room += _size(key, shard[key])
            homeless[key] = shard.pop(key)
        if shard:
            shards[index] = shard
    _settle(homeless, shards, limit)
    return {index: dict(sorted(shards[index].items())) for index in sorted(shards)}


def _settle(homeless: Entries, shards: dict[int, dict[str, str]], limit: int) -> None:
    """Put entries into the first shard that has room, or into a new one."""
    rooms = {
        index: limit - sum(_size(key, text) for key, text in shard.items())
        for index, shard in shards.items()
    }
    for key, text in sorted(homeless.items()):
        size = _size(key, text)
        index = next((index for index in sorted(rooms) if rooms[index] >= size), None)
        if index is None:
            index = next(i for i in range(len(rooms) + 1) if i not in rooms)
            rooms[index], shards[index] = limit, {}
        shards[index][key] = text
        rooms[index] -= size


def _size(key: str, text: str) -> int:
    return len(key) + (len(text) if text.isascii() else len(text.encode()))


def writes(current: Shards, wanted: Shards) -> list[Write]:
    """The steps from the shards that are there to those that are wanted.

    After each of them every route finds its pools, as it did before: pools come first, then
    routes, and what nobody names any more goes last. A change within one shard is one step.
    """
    state = {index: dict(shard) for index, shard in current.items()}
    goal = {index: dict(shard) for index, shard in wanted.items() if shard}
    differing = [i for i in sorted(state.keys() | goal.keys()) if state.get(i) != goal.get(i)]
    if len(differing) == 1:
        return [Write(differing[0], goal.get(differing[0]))]
    steps: list[Write] = []

    def reach(index: int, data: dict[str, str]) -> None:
        if state.get(index, {}) != data:
            state[index] = data
            steps.append(Write(index, data or None))

    for index in differing:
        reach(index, state.get(index, {}) | _pools(goal.get(index, {})))
    stay = merged(goal).keys()
    for index in differing:
        before = state.get(index, {})
        kept = {key: text for key, text in before.items() if key.startswith(_POOL) or key in stay}
        reach(index, kept | goal.get(index, {}))
    for index in differing:
        reach(index, _pools(state.get(index, {})) | goal.get(index, {}))
    for index in differing:
        reach(index, goal.get(index, {}))
        if index in current and not current[index] and index not in goal:
            steps.append(Write(index, None))
    return steps


def _pools(shard: Entries) -> dict[str, str]:
    return {key: text for key, text in shard.items() if key.startswith(_POOL)}
