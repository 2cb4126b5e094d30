"""ConfigMaps → the RouterConfig document. What did not change is not read again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from modelrouter.api.router_config import FORMAT
from modelrouter.kube.resources import Object, name_of
from modelrouter.plan.shards import digest, merged, named, pool_key, read_entry, version_of


class _Entry(NamedTuple):
    text: str
    digest: bytes
    value: Any


class Documents:
    """The ConfigMaps of one router, and what they make up."""

    def __init__(self, namespace: str, router: str) -> None:
        self._namespace = namespace
        self._router = router
        self._shards: dict[str, Mapping[str, str]] = {}
        self._known: dict[str, _Entry] = {}

    def replace(self, found: tuple[Object, ...]) -> None:
        """Take all ConfigMaps."""
        self._shards = {name_of(each): each.get("data") or {} for each in found}

    def put(self, found: Object) -> None:
        """Take one ConfigMap's new state."""
        self._shards[name_of(found)] = found.get("data") or {}

    def remove(self, found: Object) -> None:
        """One ConfigMap is gone."""
        self._shards.pop(name_of(found), None)

    @property
    def is_empty(self) -> bool:
        """Whether there is no ConfigMap: the operator has not written any yet, or never will."""
        return not self._shards

    def read(self) -> dict[str, Any]:
        """The document. Raises `plan.shards.BrokenEntryError`."""
        ordered = sorted(self._shards.items(), key=lambda item: (_number(item[0]), item[0]))
        numbered = {number: shard for number, (_, shard) in enumerate(ordered)}
        known: dict[str, _Entry] = {}
        pools: dict[str, Any] = {}
        routes: dict[str, Any] = {}
        for key, text in sorted(merged(numbered).items()):
            entry = self._known.get(key)
            if entry is None or entry.text != text:
                entry = _Entry(text, digest(text), read_entry(key, text))
            known[key] = entry
            section = pools if key.startswith(pool_key("")) else routes
            section[named(key)] = entry.value
        self._known = known
        return {
            "format": FORMAT,
            "version": version_of({key: entry.digest for key, entry in known.items()}),
            "router": self._router,
            "namespace": self._namespace,
            "pools": pools,
            "routes": routes,
        }


def missing_pool(document: Mapping[str, Any]) -> str:
    """A pool that a route names and that is not there, or nothing.

    Between two writes of the operator this may happen: what is missing is about to come.
    """
    pools = document["pools"]
    for name, route in document["routes"].items():
        for pool in route.get("pools") or () if isinstance(route, dict) else ():
            if pool not in pools:
                return f"route {name} needs {pool_key(str(pool))}"
    return ""


def secret_names(document: Mapping[str, Any]) -> set[str]:
    """The Secrets that hold the keys of the document's pools."""
    credentials = (
        pool.get("credential") for pool in document["pools"].values() if isinstance(pool, dict)
    )
    return {str(each["secret"]) for each in credentials if isinstance(each, dict)}


def follows_services(document: Mapping[str, Any]) -> bool:
    """Whether a pool takes its endpoints from a Service."""
    return any(isinstance(p, dict) and p.get("service") for p in document["pools"].values())


def _number(name: str) -> int:
    number = name.rpartition("-")[2]
    return int(number) if number.isdecimal() else -1
